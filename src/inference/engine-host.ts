// The parent's side of an engine: one child process per loaded context, because onnxruntime blocks its
// thread, cannot be interrupted, and gives memory back only by dying.
import { availableParallelism, loadavg, totalmem } from 'node:os'
import type { Clock } from '../base/clock.ts'
import { HearthError, messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { ExecutionProvider } from './device-choice.ts'
import type { EngineFacts, EngineName, EngineRequest, EngineResult, FakeTiming } from './engine.ts'
import { endpointRunMsMax, type EndpointOptions } from './endpoint/endpoint-options.ts'
import { EngineProcess, type EngineProcessOptions } from './engine-process.ts'

export interface EngineHostComponents {
  clock: Clock
  log: Logger
}

export interface EngineHostOptions {
  /** The context's folder: a model in Hugging Face's ONNX layout. */
  folder: string
  /** Default 'auto'. */
  engine?: EngineName
  /** Sequences run at once. Default: the engine's own choice. */
  slots?: number | undefined
  /** Threads inside one step. Default 1 on one or two cores, else the cores that nobody uses now. */
  threads?: number | undefined
  /** What onnxruntime is to run it on. Default 'cpu'. */
  provider?: ExecutionProvider | undefined
  /** What the graphics card that `provider` means is called: part of the numeric class. */
  deviceName?: string | undefined
  /** Whether a small model goes to the processor if that is faster. Default false. */
  comparesWithCpu?: boolean | undefined
  contextLengthMax?: number | undefined
  dtype?: string | undefined
  /** Priority of the child: 0 as ours, 19 the humblest. Default 5. */
  nice?: number
  /** Loading takes at most this long, ms. Default 120,000. */
  loadMsMax?: number
  /** A request takes at most this long in the child, ms. Default 600,000. */
  runMsMax?: number
  /** One step of the model takes at most this long, ms. Default 60,000. */
  silenceMsMax?: number
  /** Resident memory of the child, bytes. Default: half of the machine's. */
  residentBytesMax?: number
  /** How often the child says that it lives, and how often that is checked, ms. Default 500. */
  heartbeatMs?: number
  /**
   * Whether a process that runs from weights as they are mapped answers at once, while a second one
   * prepares them; then the second takes over, and the first goes when its runs are done. For large
   * models. Default false, because the two are of different numeric classes.
   */
  quickStart?: boolean
  /** The OpenAI-compatible server that this machine has. */
  endpoint?: EndpointOptions | undefined
  /** The fake engine's timing. */
  fake?: Partial<FakeTiming> | undefined
}

export type EngineHostFacts = EngineFacts & {
  /** From fork to ready, ms. */
  loadMs: number
}

export interface EngineExit {
  /** Why the process ended, for people. */
  reason: string
  /** Whether `stop` ended it. */
  isExpected: boolean
}

/** Idle: not started, stopped, or its process died. While the host is wanted, the next run starts another. */
type State = { kind: 'idle' } | { kind: 'started'; process: EngineProcess; facts: Promise<EngineHostFacts> }

export class EngineHost {
  readonly folder: string
  readonly #components: EngineHostComponents
  readonly #options: EngineProcessOptions
  readonly #quickStart: boolean
  readonly #exitListeners = new Set<(exit: EngineExit) => void>()
  #state: State = { kind: 'idle' }
  /** Between `start` and `stop`. */
  #isWanted = false
  /** Processes that are not the one that runs are sent to: preparing to be, or done with it. */
  readonly #others = new Set<EngineProcess>()
  #facts: EngineHostFacts | undefined

  constructor(components: EngineHostComponents, options: EngineHostOptions) {
    this.#components = components
    this.folder = options.folder
    this.#options = resolveOptions(options)
    this.#quickStart = options.quickStart ?? false
  }

  /** What was measured and chosen when the context was loaded; undefined while it is not loaded. */
  get facts(): EngineHostFacts | undefined {
    return this.#facts
  }

  /** The child's process id, while there is one. */
  get pid(): number | undefined {
    return this.#state.kind === 'started' ? this.#state.process.pid : undefined
  }

  /** Memory of its processes as they said last, bytes; 0 while they have said nothing. */
  get residentBytes(): number {
    const processes = [...this.#others]
    if (this.#state.kind === 'started') processes.push(this.#state.process)
    return processes.reduce((sum, { residentBytes }) => sum + residentBytes, 0)
  }

  /**
   * Loads the context; callers at the same time share one load. An aborted signal ends this caller's
   * wait, `stop` the load. Throws `context-invalid`, `model-unsupported` or `engine-failed`.
   */
  async start(options: { signal?: AbortSignal | undefined } = {}): Promise<EngineHostFacts> {
    options.signal?.throwIfAborted()
    this.#isWanted = true
    return await this.#ready(options.signal)
  }

  /**
   * Answers one request. A request that cannot be run is a result with `ok: false`. Throws
   * `engine-failed` when the process died on the way (calling again starts the next one),
   * `limit-reached` when too many wait, or the signal's reason; then its slot is free.
   */
  async run(
    request: EngineRequest,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<EngineResult> {
    await this.#ready(options.signal)
    const state = this.#state
    if (state.kind !== 'started') throw stopped()
    return await state.process.run(request, options.signal)
  }

  /** Kills the process. Resolves when it is gone and the machine has its memory back. */
  async stop(): Promise<void> {
    this.#isWanted = false
    const processes = [...this.#others]
    if (this.#state.kind === 'started') processes.push(this.#state.process)
    this.#state = { kind: 'idle' }
    this.#facts = undefined
    for (const process of processes) process.kill(stopped())
    await Promise.all(processes.map((process) => process.exited))
  }

  /** Calls `listener` whenever the process has ended; the returned function ends that. */
  onExit(listener: (exit: EngineExit) => void): () => void {
    this.#exitListeners.add(listener)
    return () => this.#exitListeners.delete(listener)
  }

  /** The loaded context, in a new process if there is none or it died. */
  async #ready(signal: AbortSignal | undefined): Promise<EngineHostFacts> {
    // Until a killed process is gone, its memory is not there for the next one.
    while (this.#state.kind === 'started' && !this.#state.process.isAlive) {
      await abortable(this.#state.process.exited, signal)
    }
    if (!this.#isWanted) throw stopped()
    return await abortable(this.#state.kind === 'started' ? this.#state.facts : this.#launch(), signal)
  }

  #launch(): Promise<EngineHostFacts> {
    const started = this.#spawn(this.#quickStart)
    this.#state = started
    if (this.#quickStart) void this.#prepareFull(started.process)
    return started.facts
  }

  #spawn(skipsPrepacking: boolean): Extract<State, { kind: 'started' }> {
    const { clock, log } = this.#components
    const startedMs = clock.nowMs()
    const engine = { ...this.#options.engine, skipsPrepacking }
    const process = new EngineProcess({ clock, log }, { ...this.#options, engine })
    const facts = process.loaded.then((loaded) => {
      const facts = { ...loaded, loadMs: clock.nowMs() - startedMs }
      if (this.#isCurrent(process)) this.#facts = facts
      log.info({ pid: process.pid, folder: this.folder, ...facts }, 'context loaded')
      return facts
    })
    // Whoever waits sees the failure; with nobody waiting, `exited` reports it.
    facts.catch(() => {})
    void process.exited.then((cause) => this.#onProcessExit(process, cause))
    return { kind: 'started', process, facts }
  }

  /** Prepares a second process while `quick` answers, and puts it in its place. */
  async #prepareFull(quick: EngineProcess): Promise<void> {
    try {
      await quick.loaded
      if (!this.#isCurrent(quick)) return
      const full = this.#spawn(false)
      this.#others.add(full.process)
      const facts = await full.facts
      if (!this.#isCurrent(quick)) return full.process.kill(stopped())
      this.#others.delete(full.process)
      this.#others.add(quick)
      this.#state = full
      this.#facts = facts
      quick.retire(new HearthError('engine-failed', 'a process at full speed took over'))
    } catch (error) {
      this.#components.log.warn(
        { folder: this.folder, reason: messageOf(error) },
        'context stays as it started',
      )
    }
  }

  #onProcessExit(process: EngineProcess, cause: HearthError): void {
    if (this.#others.delete(process)) return
    const isExpected = !this.#isCurrent(process)
    if (!isExpected) {
      this.#state = { kind: 'idle' }
      this.#facts = undefined
      this.#components.log.warn(
        { pid: process.pid, folder: this.folder, reason: cause.message },
        'engine process ended',
      )
    }
    for (const listener of this.#exitListeners) listener({ reason: cause.message, isExpected })
  }

  #isCurrent(process: EngineProcess): boolean {
    return this.#state.kind === 'started' && this.#state.process === process
  }
}

/** One or two cores: one thread, because two are slower beside any other work; else the free cores. */
export function defaultThreads(): number {
  const cores = availableParallelism()
  if (cores <= 2) return 1
  return Math.max(1, Math.min(cores - 1, Math.round(cores - (loadavg()[0] ?? 0))))
}

function stopped(): HearthError {
  return new HearthError('engine-failed', 'the engine host is stopped')
}

function resolveOptions(options: EngineHostOptions): EngineProcessOptions {
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

/** `promise`, or the signal's reason if that comes first. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
