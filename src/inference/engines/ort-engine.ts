// The engines on onnxruntime: a context folder becomes a text engine.
import { freemem } from 'node:os'
import { dirname } from 'node:path'
import type { LoadEngine } from '../engine.ts'
import { findModelFile, readContextFiles, type ContextFiles } from '../context-folder.ts'
import { KvStore } from '../kv-store.ts'
import { graphHash, numericClassOf } from '../numeric-class.ts'
import { FileSource } from '../onnx/protobuf.ts'
import { readModel, type OnnxModel } from '../onnx/onnx-reader.ts'
import { ORT_VERSION } from '../onnx-session.ts'
import { PresentGraph } from '../present-graph.ts'
import { SlotModel } from '../slot-model.ts'
import type { StepGraph } from '../step-graph.ts'
import { TextEngine } from '../text-engine.ts'
import type { TokenModelFacts } from '../token-model.ts'

/** More sequences share each reading of the weights, until attention outweighs it. */
const SLOTS_DEFAULT = 32

/** Prompt tokens of one step: beyond a few hundred, matrix kernels gain nothing. */
const PREFILL_TOKENS_MAX = 512

/** Logits of a prefill step, bytes: a stock export makes them for every position. */
const LOGITS_BYTES_MAX = 256 * 1024 * 1024

const CONTEXT_LENGTH_DEFAULT = 2_048

export const loadOrtEngine: LoadEngine = async (folder, options, components) => {
  const files = await readContextFiles(folder)
  const { path, dtype } = await findModelFile(folder, options.dtype)
  const model = readOnnxFile(path)
  const graph = await PresentGraph.open(path, model, { threads: options.threads })
  const contextLengthMax = contextLengthOf(files, options.contextLengthMax)
  const facts: TokenModelFacts = {
    slots: options.slots ?? SLOTS_DEFAULT,
    engine: 'ort-present',
    contextLengthMax,
    vocabularySize: graph.vocabularySize,
    numericClass: await numericClassOf({
      engine: 'ort-present',
      engineVersion: ORT_VERSION,
      executionProvider: 'cpu',
      dtype,
      graphHash: graphHash(model),
    }),
  }
  const slotModel = new SlotModel(graph, facts, limitsOf(graph, contextLengthMax))
  components.log.debug({ folder: dirname(path), dtype, ...facts }, 'model opened')
  return new TextEngine({ model: slotModel, ...components }, files)
}

function readOnnxFile(path: string): OnnxModel {
  using source = new FileSource(path)
  return readModel(source)
}

function contextLengthOf({ config, tokenizerConfig }: ContextFiles, bound: number | undefined): number {
  const lengths = [config.max_position_embeddings, tokenizerConfig.model_max_length].filter(
    (length) => typeof length === 'number' && length >= 1,
  ) as number[]
  return Math.floor(
    Math.min(...lengths, bound ?? Infinity, lengths.length === 0 ? CONTEXT_LENGTH_DEFAULT : Infinity),
  )
}

/** The store may take half of the free memory, and at least what one sequence needs. */
function limitsOf(
  graph: StepGraph,
  contextLengthMax: number,
): { prefillTokensMax: number; storeBytesMax: number } {
  const logitsBytes = graph.vocabularySize * 4
  return {
    prefillTokensMax: Math.max(16, Math.min(PREFILL_TOKENS_MAX, Math.floor(LOGITS_BYTES_MAX / logitsBytes))),
    storeBytesMax: Math.max(freemem() / 2, contextLengthMax * KvStore.tokenBytes(graph.kvShape)),
  }
}
