// The engines on onnxruntime: a context folder becomes a text engine.
import { freemem } from 'node:os'
import { dirname } from 'node:path'
import { isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { findModelFile, readContextFiles, type ContextFiles } from '../context-folder.ts'
import { DeltaGraph, type DeltaSource } from '../delta-graph.ts'
import { isEncoder } from '../encoder-model.ts'
import type { EngineFacts, EngineName, EngineOptions, LoadEngine } from '../engine.ts'
import { EmbeddingEngine } from './embedding-engine.ts'
import { KvStore } from '../kv-store.ts'
import { graphHash, numericClassOf } from '../numeric-class.ts'
import { ORT_VERSION } from '../onnx-session.ts'
import { describeDecoder } from '../onnx/decoder.ts'
import { DELTA_FORM } from '../onnx/delta-rewrite.ts'
import { checkModelSafety } from '../onnx/model-safety.ts'
import { readModel, type OnnxModel } from '../onnx/onnx-reader.ts'
import { FileSource } from '../onnx/protobuf.ts'
import { PresentGraph } from '../present-graph.ts'
import { SlotModel, type SlotModelOptions } from '../slot-model.ts'
import type { StepGraph } from '../step-graph.ts'
import { TextEngine } from '../text-engine.ts'
import type { TokenModelFacts } from '../token-model.ts'
import { checkWeightFiles } from '../weight-files.ts'

/** More sequences share each reading of the weights, until attention outweighs it. */
const SLOTS_DEFAULT = 32

/** Prompt tokens of one step: beyond a few hundred, matrix kernels gain nothing. */
const PREFILL_TOKENS_MAX = 512

/** Logits of a prefill step, bytes: a stock export makes them for every position. */
const LOGITS_BYTES_MAX = 256 * 1024 * 1024

const CONTEXT_LENGTH_DEFAULT = 2_048

type OrtEngineName = TokenModelFacts['engine']

export const loadOrtEngine: LoadEngine = async (folder, options, components) => {
  const files = await readContextFiles(folder)
  const { path, dtype } = await findModelFile(folder, options.dtype)
  using source = new FileSource(path)
  const model = readModel(source)
  checkModelSafety(model, source)
  await checkWeightFiles(model, dirname(path))
  const isEmbedding = options.engine === 'embeddings' || (options.engine === 'auto' && isEncoder(model))
  const describe = (engine: EngineFacts['engine'], dtypeUsed: string): Promise<EngineFacts> =>
    factsOf({ engine, dtype: dtypeUsed, model, files, options })
  if (isEmbedding) {
    const { threads } = options
    return await EmbeddingEngine.open(
      { folder, path, model, files, threads },
      await describe('embeddings', dtype),
    )
  }
  const decoder = describeDecoder(model, files.config.vocab_size)
  const { graph, engine } = await openGraph({ path, model, source, decoder }, options, components.log)
  const isUnpacked = options.skipsPrepacking === true && engine === 'ort-delta'
  const facts = {
    ...(await describe(engine, isUnpacked ? `${dtype}-unpacked` : dtype)),
    engine,
    vocabularySize: graph.vocabularySize,
  }
  const slotModel = new SlotModel(graph, facts, limitsOf(graph, facts.contextLengthMax))
  return new TextEngine({ model: slotModel, ...components }, files)
}

interface FactsParts {
  engine: EngineFacts['engine']
  dtype: string
  model: OnnxModel
  files: ContextFiles
  options: EngineOptions
}

async function factsOf({ engine, dtype, model, files, options }: FactsParts): Promise<EngineFacts> {
  const numericClass = await numericClassOf({
    engine,
    engineVersion: engine === 'ort-delta' ? `${ORT_VERSION}.${DELTA_FORM}` : ORT_VERSION,
    executionProvider: 'cpu',
    dtype,
    graphHash: graphHash(model),
  })
  const contextLengthMax = contextLengthOf(files, options.contextLengthMax)
  return { slots: options.slots ?? SLOTS_DEFAULT, engine, contextLengthMax, numericClass }
}

interface OpenedGraph {
  graph: StepGraph
  engine: OrtEngineName
}

/** The engine asked for; by default the delta form, and the stock form where that is not to be had. */
async function openGraph(source: DeltaSource, options: EngineOptions, log: Logger): Promise<OpenedGraph> {
  const { threads, skipsPrepacking = false } = options
  const wanted: EngineName = options.engine
  if (wanted === 'ort-present') return await openPresent(source, threads)
  try {
    return { graph: await DeltaGraph.open(source, { threads, skipsPrepacking }), engine: 'ort-delta' }
  } catch (error) {
    if (wanted === 'ort-delta' || !isHearthError(error, 'model-unsupported')) throw error
    log.info({ reason: messageOf(error) }, 'model has no delta form, running its stock form')
    return await openPresent(source, threads)
  }
}

async function openPresent({ path, decoder }: DeltaSource, threads: number): Promise<OpenedGraph> {
  return { graph: await PresentGraph.open(path, decoder, { threads }), engine: 'ort-present' }
}

function contextLengthOf({ config, tokenizerConfig }: ContextFiles, bound: number | undefined): number {
  const told = [config.max_position_embeddings, tokenizerConfig.model_max_length].filter(
    (length) => typeof length === 'number' && length >= 1,
  )
  const lengths = told.length === 0 ? [CONTEXT_LENGTH_DEFAULT] : told
  return Math.floor(Math.min(...(lengths as number[]), bound ?? Infinity))
}

/** The store may take half of the free memory, and at least what one sequence needs. */
function limitsOf(graph: StepGraph, contextLengthMax: number): SlotModelOptions {
  const positionsMax = Math.floor(LOGITS_BYTES_MAX / (graph.vocabularySize * 4))
  return {
    prefillTokensMax: Math.max(16, Math.min(PREFILL_TOKENS_MAX, positionsMax)),
    storeBytesMax: Math.max(freemem() / 2, contextLengthMax * KvStore.tokenBytes(graph.kvShape)),
  }
}
