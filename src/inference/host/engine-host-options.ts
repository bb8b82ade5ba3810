// The options of an engine host, and their defaults.
import { availableParallelism, loadavg, totalmem } from 'node:os'
import type { ExecutionProvider } from '../device/device-choice.ts'
import { checkEngineName, type EngineName, type FakeTiming } from '../contract/engine.ts'
import { endpointRunMsMax, type EndpointOptions } from '../endpoint/endpoint-options.ts'
import type { KillGuard } from './core/kill-guard.ts'
import type { EngineProcessOptions } from './engine-process.ts'

export interface EngineHostOptions {
  /** The context's folder: a model in Hugging Face's ONNX layout. */
  folder: string
  /** Default 'auto'. */
  engine?: EngineName
  /** Sequences run at once. Default: the engine's own choice. */
  slots?: number | undefined
  /** Threads inside one step. Default 1 on one or two cores, else the idle cores. */
  threads?: number | undefined
  /** The execution provider of onnxruntime. Default 'cpu'. */
  provider?: ExecutionProvider | undefined
  /** The name of the graphics card of `provider`: part of the numeric class. */
  deviceName?: string | undefined
  /** Whether a small model moves to the CPU when that is faster. Default false. */
  comparesWithCpu?: boolean | undefined
  contextLengthMax?: number | undefined
  dtype?: string | undefined
  /** Niceness of the child: 0 as the parent's, 19 the lowest priority. Default 5. */
  nice?: number
  /** Loading takes at most this long, ms. Default 120,000. */
  loadMsMax?: number
  /** A request takes at most this long in the child, ms. Default 600,000. */
  runMsMax?: number
  /** One step of the model takes at most this long, ms. Default 60,000. */
  silenceMsMax?: number
  /** Resident memory of the child, bytes. Default: half of the machine's. */
  residentBytesMax?: number
  /** Interval of the child's heartbeats and of their check, ms. Default 500. */
  heartbeatMs?: number
  /**
   * Whether a process that runs from weights as they are mapped answers first; then a second one prepares
   * them, takes over when it has, and the first goes when its runs are done. For large models, on the
   * processor. Default false, because the two are of different numeric classes, and have the model in
   * memory twice for a while.
   */
  quickStart?: boolean | undefined
  /** The OpenAI-compatible server that this machine has. */
  endpoint?: EndpointOptions | undefined
  /** Remembers the kills of this context's processes across its hosts. Default: one of its own. */
  killGuard?: KillGuard | undefined
  /** The fake engine's timing. */
  fake?: Partial<FakeTiming> | undefined
}

/** One or two cores: one thread, because two are slower beside any other work; else the free cores. */
export function defaultThreads(): number {
  const cores = availableParallelism()
  return cores <= 2 ? 1 : Math.min(cores - 1, freeCores())
}

/** Cores that were idle in the last minute, at least 1. */
export function freeCores(): number {
  return Math.max(1, Math.round(availableParallelism() - (loadavg()[0] ?? 0)))
}

/** Throws RangeError. */
export function resolveOptions(options: EngineHostOptions): EngineProcessOptions {
  const {
    folder,
    engine = 'auto',
    slots,
    threads = defaultThreads(),
    provider,
    deviceName,
    comparesWithCpu,
    contextLengthMax,
    dtype,
    endpoint,
    fake,
  } = options
  checkEngineName(engine)
  for (const [name, value] of Object.entries({ slots, threads, contextLengthMax })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1)) {
      throw new RangeError(`${name} must be a whole number of at least 1, got ${value}`)
    }
  }
  return {
    folder,
    engine: {
      engine,
      slots,
      threads,
      provider,
      deviceName,
      comparesWithCpu,
      contextLengthMax,
      dtype,
      endpoint,
      fake,
    },
    nice: options.nice ?? 5,
    heartbeatMs: options.heartbeatMs ?? 500,
    limits: {
      loadMsMax: options.loadMsMax ?? 120_000,
      runMsMax: options.runMsMax ?? (endpoint === undefined ? 600_000 : endpointRunMsMax(endpoint)),
      silenceMsMax: options.silenceMsMax ?? 60_000,
      residentBytesMax: options.residentBytesMax ?? Math.floor(totalmem() / 2),
    },
  }
}
