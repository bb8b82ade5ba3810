// The engines on onnxruntime: a context folder becomes a text engine.
import { freemem } from 'node:os'
import { isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { findModelFile, readContextFiles, type ContextFiles } from '../context-folder.ts'
import { DeltaGraph, type DeltaSource } from '../delta-graph.ts'
import type { EngineName, EngineOptions, LoadEngine } from '../engine.ts'
import { KvStore } from '../kv-store.ts'
import { graphHash, numericClassOf } from '../numeric-class.ts'
import { ORT_VERSION } from '../onnx-session.ts'
import { describeDecoder } from '../onnx/decoder.ts'
import { readModel } from '../onnx/onnx-reader.ts'
import { FileSource } from '../onnx/protobuf.ts'
import { PresentGraph } from '../present-graph.ts'
import { SlotModel, type SlotModelOptions } from '../slot-model.ts'
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

type OrtEngineName = TokenModelFacts['engine']

export const loadOrtEngine: LoadEngine = async (folder, options, components) => {
  const files = await readContextFiles(folder)
  const { path, dtype } = await findModelFile(folder, options.dtype)
  using source = new FileSource(path)
  const model = readModel(source)
  const decoder = describeDecoder(model, files.config.vocab_size)
  const { graph, engine } = await openGraph({ path, model, source, decoder }, options, components.log)
  const contextLengthMax = contextLengthOf(files, options.contextLengthMax)
  const numericClass = await numericClassOf({
    engine,
    engineVersion: ORT_VERSION,
    executionProvider: 'cpu',
    dtype: options.skipsPrepacking === true && engine === 'ort-delta' ? `${dtype}-unpacked` : dtype,
    graphHash: graphHash(model),
  })
  const facts: TokenModelFacts = {
    slots: options.slots ?? SLOTS_DEFAULT,
    engine,
    contextLengthMax,
    vocabularySize: graph.vocabularySize,
    numericClass,
  }
  const slotModel = new SlotModel(graph, facts, limitsOf(graph, contextLengthMax))
  return new TextEngine({ model: slotModel, ...components }, files)
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
