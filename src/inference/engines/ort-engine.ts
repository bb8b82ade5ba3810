// The engines on onnxruntime: a context folder becomes a text engine.
import { freemem } from 'node:os'
import { dirname } from 'node:path'
import { contextLengthOf } from '../contract/context-length.ts'
import { findModelFile, type ModelFile } from '../contract/model-file.ts'
import { readContextFiles, type ContextFiles } from '../contract/model-folder.ts'
import type { ExecutionProvider } from '../device/device-choice.ts'
import { isEncoder } from '../graph/encoder.ts'
import type { EngineFacts, EngineOptions, LoadEngine } from '../contract/engine.ts'
import { EmbeddingEngine, readEncoderText, type EncoderText } from './embedding-engine.ts'
import { KvStore } from '../running/kv-store.ts'
import { graphHash, numericClassOf } from '../onnx/numeric-class.ts'
import { ORT_VERSION } from '../running/onnx-session.ts'
import { openGraph } from '../running/open-graph.ts'
import { describeDecoder, type Decoder } from '../graph/decoder.ts'
import { DELTA_FORM } from '../graph/delta-rewrite.ts'
import { checkModelSafety } from '../onnx/model-safety.ts'
import { readModel, type OnnxModel } from '../onnx/onnx-reader.ts'
import { FileSource } from '../onnx/protobuf.ts'
import { SlotModel, type SlotModelOptions } from '../batching/slot-model.ts'
import type { StepGraph } from '../running/step-graph.ts'
import { TextCodec } from '../text/text-codec.ts'
import { TextEngine } from '../text/text-engine.ts'
import { checkWeightFiles } from '../onnx/weight-files.ts'

/** More sequences share each reading of the weights, until attention outweighs it. */
const SLOTS_DEFAULT = 32

/** Prompt tokens of one step: beyond a few hundred, matrix kernels gain nothing. */
const PREFILL_TOKENS_MAX = 512

/** Logits of a prefill step, bytes: a stock export makes them for every position. */
const LOGITS_BYTES_MAX = 256 * 1024 * 1024

/** A context whose files are read and checked, before native code sees the model. */
export interface OrtContext {
  folder: string
  path: string
  dtype: string
  files: ContextFiles
  model: OnnxModel
  text: EncoderText | DecoderText
}

interface DecoderText {
  kind: 'decoder'
  decoder: Decoder
  codec: TextCodec
}

/**
 * Reads and checks a context: graph, weights, tokenizer, template, and what an embedding model does to its
 * tokens' vectors. Throws `context-invalid` or `model-unsupported`.
 * @param source the graph's file, open
 */
async function readContext(
  folder: string,
  { path, dtype }: ModelFile,
  source: FileSource,
  options: EngineOptions & { wallMs: () => number },
): Promise<OrtContext> {
  const files = await readContextFiles(folder)
  const model = readModel(source)
  checkModelSafety(model, source)
  await checkWeightFiles(model, dirname(path))
  const isEmbedding = options.engine === 'embeddings' || (options.engine === 'auto' && isEncoder(model))
  const text: OrtContext['text'] = isEmbedding
    ? await readEncoderText(folder, model, files)
    : {
        kind: 'decoder',
        decoder: describeDecoder(model, files.config.vocab_size),
        codec: new TextCodec(files, options.wallMs),
      }
  return { folder, path, dtype, files, model, text }
}

/** All of a load but the session of onnxruntime. Throws `context-invalid` or `model-unsupported`. */
export async function checkOrtContext(folder: string): Promise<void> {
  const file = await findModelFile(folder, undefined)
  using source = new FileSource(file.path)
  await readContext(folder, file, source, { engine: 'auto', threads: 1, wallMs: () => 0 })
}

export const loadOrtEngine: LoadEngine = async (folder, options, components) => {
  const file = await findModelFile(folder, options.dtype)
  using source = new FileSource(file.path)
  const wallMs = (): number => components.clock.wallMs()
  const context = await readContext(folder, file, source, { ...options, wallMs })
  const { path, dtype, model, files, text } = context
  const describe = (
    engine: EngineFacts['engine'],
    provider: ExecutionProvider,
    dtypeUsed: string,
  ): Promise<EngineFacts> => factsOf({ engine, provider, dtype: dtypeUsed, model, files, options })
  if (text.kind === 'encoder') {
    const facts = await describe('embeddings', 'cpu', dtype)
    return await EmbeddingEngine.open({ path, text, files, threads: options.threads }, facts)
  }
  const opening = { path, model, source, decoder: text.decoder }
  const { graph, engine, provider } = await openGraph(opening, options, components)
  const isUnpacked = options.skipsPrepacking === true && engine === 'ort-delta'
  const facts = {
    ...(await describe(engine, provider, isUnpacked ? `${dtype}-unpacked` : dtype)),
    engine,
    vocabularySize: graph.vocabularySize,
  }
  const slotModel = new SlotModel(graph, facts, limitsOf(graph, facts.contextLengthMax))
  return new TextEngine({ model: slotModel, codec: text.codec, ...components }, files)
}

interface FactsParts {
  engine: EngineFacts['engine']
  provider: ExecutionProvider
  dtype: string
  model: OnnxModel
  files: ContextFiles
  options: EngineOptions
}

async function factsOf(parts: FactsParts): Promise<EngineFacts> {
  const { engine, provider, dtype, model, files, options } = parts
  const numericClass = await numericClassOf({
    engine,
    engineVersion: engine === 'ort-delta' ? `${ORT_VERSION}.${DELTA_FORM}` : ORT_VERSION,
    executionProvider: provider,
    deviceName: options.deviceName,
    dtype,
    graphHash: graphHash(model),
  })
  const contextLengthMax = contextLengthOf(files, options.contextLengthMax)
  return { slots: options.slots ?? SLOTS_DEFAULT, engine, provider, contextLengthMax, numericClass }
}

/** The store may take half of the free memory, and at least what one sequence needs. */
function limitsOf(graph: StepGraph, contextLengthMax: number): SlotModelOptions {
  const positionsMax = Math.floor(LOGITS_BYTES_MAX / (graph.vocabularySize * 4))
  return {
    prefillTokensMax: Math.max(16, Math.min(PREFILL_TOKENS_MAX, positionsMax)),
    storeBytesMax: Math.max(freemem() / 2, contextLengthMax * KvStore.tokenBytes(graph.kvShape)),
  }
}
