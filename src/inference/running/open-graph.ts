// Which graph a decoder runs as, and on what: the device asked for where it takes the model and computes,
// and where the choice is ours, only if it is faster on this very model.
import type { Clock } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { DeltaGraph, type DeltaSource } from './delta-graph.ts'
import type { ExecutionProvider } from '../device/device-choice.ts'
import type { EngineOptions } from '../contract/engine.ts'
import { KvStore } from './kv-store.ts'
import type { OnnxModel } from '../onnx/onnx-reader.ts'
import { PresentGraph } from './present-graph.ts'
import type { StepGraph } from './step-graph.ts'

export interface OpenedGraph {
  graph: StepGraph
  engine: 'ort-delta' | 'ort-present'
  provider: ExecutionProvider
}

/** Above this, a card is faster in any case, and the model need not be in memory twice. */
const COMPARED_WEIGHTS_MAX = 125_000_000
/** The step that is compared: so many sequences of so many tokens get one more. */
const COMPARED_ROWS = 8
const COMPARED_TOKENS = 128
const COMPARED_STEPS = 3

/** Throws `model-unsupported` when the processor does not run it either. */
export async function openGraph(
  source: DeltaSource,
  options: EngineOptions,
  { clock, log }: { clock: Clock; log: Logger },
): Promise<OpenedGraph> {
  const { provider = 'cpu', comparesWithCpu = false } = options
  const device = provider === 'cpu' ? undefined : await openOnDevice(provider, source, options, log)
  if (device === undefined) return await openOn('cpu', source, options, log)
  if (!comparesWithCpu || weightsOf(source.model) > COMPARED_WEIGHTS_MAX) return device
  const [faster, slower] = await byStepTime(clock, [device, await openOn('cpu', source, options, log)])
  log.info(
    { faster: faster.provider, stepMs: faster.stepMs, slowerStepMs: slower.stepMs },
    'devices compared',
  )
  await slower.graph.close()
  return { graph: faster.graph, engine: faster.engine, provider: faster.provider }
}

/** Undefined where the device does not take the model, or does not compute it: for want of memory, or of a kernel. */
async function openOnDevice(
  provider: ExecutionProvider,
  source: DeltaSource,
  options: EngineOptions,
  log: Logger,
): Promise<OpenedGraph | undefined> {
  let opened: OpenedGraph | undefined
  try {
    opened = await openOn(provider, source, options, log)
    await tryOneStep(opened.graph)
    return opened
  } catch (error) {
    log.warn({ provider, reason: messageOf(error) }, 'model does not run on this device; using the CPU')
    await opened?.graph.close()
    return undefined
  }
}

async function tryOneStep(graph: StepGraph): Promise<void> {
  const input = { rows: [[0, 0]], past: { kind: 'none' as const }, pastLengths: [0], wantsLogits: true }
  const output = await graph.run(input)
  if (output.hasNumbers(0)) return
  throw new HearthError('engine-failed', 'it computes NaN')
}

/** The engine asked for; by default the delta form, and the stock form where that is not to be had. */
async function openOn(
  provider: ExecutionProvider,
  source: DeltaSource,
  { engine: wanted, threads, skipsPrepacking = false }: EngineOptions,
  log: Logger,
): Promise<OpenedGraph> {
  const openPresent = async (): Promise<OpenedGraph> => {
    const graph = await PresentGraph.open(source.path, source.decoder, { threads, provider })
    return { graph, engine: 'ort-present', provider }
  }
  if (wanted === 'ort-present') return await openPresent()
  try {
    const keepsPastOnDevice = provider === 'webgpu'
    const graph = await DeltaGraph.open(source, { threads, provider, skipsPrepacking, keepsPastOnDevice })
    return { graph, engine: 'ort-delta', provider }
  } catch (error) {
    if (wanted === 'ort-delta' || !isHearthError(error, 'model-unsupported')) throw error
    log.info({ reason: messageOf(error) }, 'model has no delta form; running its stock form')
    return await openPresent()
  }
}

/** The graphs with the time of a decode step, ms, the faster first. */
export async function byStepTime<T extends { graph: StepGraph }>(
  clock: Clock,
  graphs: [T, T],
): Promise<[T & { stepMs: number }, T & { stepMs: number }]> {
  const [first, second] = graphs
  const left = { ...first, stepMs: await stepMsOf(first.graph, clock) }
  const right = { ...second, stepMs: await stepMsOf(second.graph, clock) }
  return left.stepMs <= right.stepMs ? [left, right] : [right, left]
}

/** The best of a few, after one that prepares. */
async function stepMsOf(graph: StepGraph, clock: Clock): Promise<number> {
  const store = new KvStore(graph.kvShape, COMPARED_ROWS)
  store.resize(COMPARED_TOKENS, 0)
  const input = {
    rows: Array.from({ length: COMPARED_ROWS }, () => [0]),
    past: { kind: 'slots' as const, store },
    pastLengths: Array.from({ length: COMPARED_ROWS }, () => COMPARED_TOKENS - 1),
    wantsLogits: false,
  }
  let bestMs = Infinity
  for (let step = 0; step <= COMPARED_STEPS; step += 1) {
    const beganMs = clock.nowMs()
    await graph.run(input)
    if (step > 0) bestMs = Math.min(bestMs, clock.nowMs() - beganMs)
  }
  return bestMs
}

function weightsOf({ initializers }: OnnxModel): number {
  return initializers.reduce((sum, { dims }) => sum + dims.reduce((product, dim) => product * dim, 1), 0)
}
