// The parent's side of an engine: one child process per loaded context, because onnxruntime blocks its
// thread, cannot be interrupted, and gives memory back only by dying.
import { sleep, type Clock } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { unlessAborted } from '../../base/waiting/unless-aborted.ts'
import type { EngineFacts, EngineRequest, EngineResult, EngineRunOptions } from '../contract/engine.ts'
import { KillGuard } from './core/kill-guard.ts'
import { CrashSuspects } from './crash-suspects.ts'
import { EngineCrash } from './engine-crash.ts'
import { freeCores, resolveOptions, type EngineHostOptions } from './engine-host-options.ts'
import { EngineProcess, type EngineProcessOptions } from './engine-process.ts'

export interface EngineHostComponents {
  clock: Clock
  log: Logger
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

/**
 * How long the process of a quick start has the machine to itself at most, ms: until its first answer, because
 * on few cores preparing the weights takes from it more than it gains.
 */
const QUICK_ALONE_MS_MAX = 2_000

export class EngineHost {
  readonly folder: string
  readonly #components: EngineHostComponents
  readonly #options: EngineProcessOptions
  /** Threads of the process that answers first; undefined without one. */
  readonly #quickThreads: number | undefined
  #answered: PromiseWithResolvers<void> = Promise.withResolvers<void>()
  readonly #suspects = new CrashSuspects()
  readonly #guard: KillGuard
  readonly #exitListeners = new Set<(exit: EngineExit) => void>()
  #state: State = { kind: 'idle' }
  /** Between `start` and `stop`. */
  #isWanted = false
  /** Other processes: the one in preparation, and those that finish their last runs. */
  readonly #others = new Set<EngineProcess>()
  #facts: EngineHostFacts | undefined

  constructor(components: EngineHostComponents, options: EngineHostOptions) {
    this.#components = components
    this.folder = options.folder
    this.#options = resolveOptions(options)
    this.#guard = options.killGuard ?? new KillGuard()
    if (startsQuick(options)) this.#quickThreads = options.threads ?? freeCores()
  }

  /** The facts of the loaded context; undefined while it is not loaded. */
  get facts(): EngineHostFacts | undefined {
    return this.#facts
  }

  /** The child's process id, while there is one. */
  get pid(): number | undefined {
    return this.#state.kind === 'started' ? this.#state.process.pid : undefined
  }

  /** Memory of its processes by their last heartbeats, bytes; 0 before the first. */
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
   * Answers one request. A request that cannot be run is a result with `ok: false`. When the process dies,
   * those that it had run again, one at a time in another. Throws `engine-failed` when it dies of this one alone,
   * `limit-reached` when too many wait, or the signal's reason; then its slot is free.
   */
  async run(request: EngineRequest, options: EngineRunOptions = {}): Promise<EngineResult> {
    const { signal } = options
    const answer = this.#suspects.run(async (isAlone) => {
      await this.#ready(signal)
      if (!isAlone) await this.#pastSuspects(signal)
      return await this.#runOnce(request, options)
    })
    return await unlessAborted(answer, signal)
  }

  /** Resolves when the process is shared by all again, and ready. */
  async #pastSuspects(signal: AbortSignal | undefined): Promise<void> {
    while (this.#suspects.isBusy) {
      await unlessAborted(this.#suspects.cleared(), signal)
      await this.#ready(signal)
    }
  }

  async #runOnce(request: EngineRequest, options: EngineRunOptions): Promise<EngineResult> {
    const state = this.#state
    if (state.kind !== 'started') throw stopped()
    try {
      const result = await state.process.run(request, options)
      this.#guard.answered()
      return result
    } finally {
      this.#answered.resolve()
    }
  }

  /** Kills the process. Resolves when it has exited and its memory is free. */
  async stop(): Promise<void> {
    this.#isWanted = false
    const processes = [...this.#others]
    if (this.#state.kind === 'started') processes.push(this.#state.process)
    this.#state = { kind: 'idle' }
    this.#facts = undefined
    for (const process of processes) process.kill(stopped())
    await Promise.all(processes.map((process) => process.exited))
  }

  /** Calls `listener` each time the process ends; the returned function unsubscribes. */
  onExit(listener: (exit: EngineExit) => void): () => void {
    this.#exitListeners.add(listener)
    return () => this.#exitListeners.delete(listener)
  }

  /** The loaded context, in a new process where none runs. */
  async #ready(signal: AbortSignal | undefined): Promise<EngineHostFacts> {
    // Wait until a killed process has exited, because its memory is not free before.
    while (this.#state.kind === 'started' && !this.#state.process.isAlive) {
      await unlessAborted(this.#state.process.exited, signal)
    }
    if (!this.#isWanted) throw stopped()
    this.#requireAllowed()
    return await unlessAborted(this.#state.kind === 'started' ? this.#state.facts : this.#launch(), signal)
  }

  /** Throws `engine-failed` while the context is refused because its engine was killed too often. */
  #requireAllowed(): void {
    if (this.#state.kind === 'started') return
    const why = this.#guard.refusal(this.#components.clock.nowMs())
    if (why !== undefined) throw new HearthError('engine-failed', why)
  }

  #launch(): Promise<EngineHostFacts> {
    const isQuick = this.#quickThreads !== undefined
    const started = this.#spawn(isQuick)
    this.#state = started
    this.#answered = Promise.withResolvers<void>()
    if (isQuick) void this.#prepareFull(started.process)
    return started.facts
  }

  #spawn(skipsPrepacking: boolean): Extract<State, { kind: 'started' }> {
    const { clock, log } = this.#components
    const startedMs = clock.nowMs()
    const { engine: options } = this.#options
    const threads = skipsPrepacking ? (this.#quickThreads ?? options.threads) : options.threads
    const engine = { ...options, threads, skipsPrepacking }
    const process = new EngineProcess({ clock, log }, { ...this.#options, engine })
    const facts = process.loaded.then((loaded) => {
      const facts = { ...loaded, loadMs: clock.nowMs() - startedMs }
      if (this.#isCurrent(process)) this.#facts = facts
      log.info({ pid: process.pid, folder: this.folder, ...facts }, 'context loaded')
      return facts
    })
    // Waiting callers see the failure; without any, `exited` reports it.
    facts.catch(() => {})
    void process.exited.then((cause) => this.#onProcessExit(process, cause))
    return { kind: 'started', process, facts }
  }

  /** Prepares a second process while `quick` answers, then replaces it. */
  async #prepareFull(quick: EngineProcess): Promise<void> {
    try {
      await quick.loaded
      await this.#firstAnswer(quick)
      if (!this.#isCurrent(quick)) return
      const full = this.#spawn(false)
      this.#others.add(full.process)
      const facts = await full.facts
      if (!this.#isCurrent(quick)) return full.process.kill(stopped())
      this.#others.delete(full.process)
      this.#others.add(quick)
      this.#state = full
      this.#facts = facts
      quick.retire(new HearthError('engine-failed', 'a process at full speed replaced this one'))
    } catch (error) {
      this.#components.log.warn(
        { folder: this.folder, reason: messageOf(error) },
        'context keeps the process that it started with',
      )
    }
  }

  /** Resolves at the first answer, after QUICK_ALONE_MS_MAX, or when the process has exited. */
  async #firstAnswer(quick: EngineProcess): Promise<void> {
    const wait = new AbortController()
    const timeUp = sleep(this.#components.clock, QUICK_ALONE_MS_MAX, wait.signal).catch(() => {})
    await Promise.race([this.#answered.promise, quick.exited, timeUp])
    wait.abort()
  }

  #onProcessExit(process: EngineProcess, cause: HearthError): void {
    if (this.#others.delete(process)) return
    const isExpected = !this.#isCurrent(process)
    if (!isExpected) {
      if (cause instanceof EngineCrash && cause.isKill)
        this.#guard.killed(cause.message, this.#components.clock.nowMs())
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

/** Graphics cards and servers load weights their own way, so they get no quick start. */
function startsQuick({ quickStart = false, provider = 'cpu', endpoint }: EngineHostOptions): boolean {
  return quickStart && provider === 'cpu' && endpoint === undefined
}

function stopped(): HearthError {
  return new HearthError('engine-failed', 'the engine host is stopped')
}
