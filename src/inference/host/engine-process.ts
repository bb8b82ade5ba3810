// One child process with one context in it, from fork to death. engine-host.ts starts the next one.
import { fork, type ChildProcess } from 'node:child_process'
import { every, type Clock } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import { ENGINE_RUNS_WAITING_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type {
  EngineFacts,
  EngineOptions,
  EngineRequest,
  EngineResult,
  EngineRunOptions,
} from '../contract/engine.ts'
import { EngineCrash } from './engine-crash.ts'
import { MEMORY_SIGNAL, type FromChild, type ToChild } from './engine-messages.ts'
import { logLines } from './log-lines.ts'
import { Watchdog, type WatchdogLimits } from './core/watchdog.ts'

const CHILD_ENTRY = new URL('./engine-host-main.ts', import.meta.url)

/** Environment variables that Node and native libraries need. Tokens and other secrets are not passed on. */
const ENVIRONMENT_NAMES = [
  'NODE_COMPILE_CACHE',
  'PATH',
  'HOME',
  'LANG',
  'TMPDIR',
  'TEMP',
  'SystemRoot',
  'LD_LIBRARY_PATH',
  'CUDA_PATH',
  'CUDA_VISIBLE_DEVICES',
  'VK_ICD_FILENAMES',
  'XDG_RUNTIME_DIR',
] as const

export interface EngineProcessOptions {
  folder: string
  engine: EngineOptions
  /** Niceness of the child: 0 as the parent's, 19 the lowest priority. */
  nice: number
  heartbeatMs: number
  limits: WatchdogLimits
}

interface Run {
  request: EngineRequest
  onProgress: (() => void) | undefined
  settle: (answer: { result: EngineResult } | { error: unknown }) => void
}

export class EngineProcess {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #child: ChildProcess
  readonly #watchdog: Watchdog
  readonly #loaded: PromiseWithResolvers<EngineFacts> = Promise.withResolvers<EngineFacts>()
  readonly #exited: PromiseWithResolvers<HearthError> = Promise.withResolvers<HearthError>()
  readonly #waiting = new Map<number, Run>()
  readonly #posted = new Map<number, Run>()
  readonly #cancelCheck: () => void
  #facts: EngineFacts | undefined
  #nextRun = 0
  #cause: HearthError | undefined
  #retirement: HearthError | undefined

  constructor(components: { clock: Clock; log: Logger }, options: EngineProcessOptions) {
    this.#clock = components.clock
    this.#log = components.log
    this.#watchdog = new Watchdog(options.limits, this.#clock.nowMs())
    // `loaded` reports a failed load, even when no caller waits for it.
    this.#loaded.promise.catch(() => {})
    this.#child = fork(CHILD_ENTRY, [], {
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: childEnvironment(),
    })
    this.#listen()
    this.#cancelCheck = every(this.#clock, options.heartbeatMs, () => this.#check())
    const { folder, engine, nice, heartbeatMs, limits } = options
    const { residentBytesMax } = limits
    this.#send({ kind: 'load', folder, options: engine, heartbeatMs, nice, residentBytesMax })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Resident memory by the last heartbeat, bytes; 0 before the first. */
  get residentBytes(): number {
    return this.#watchdog.residentBytes
  }

  /** Resolves once the context is loaded. Rejects with the reason of a failure. */
  get loaded(): Promise<EngineFacts> {
    return this.#loaded.promise
  }

  /** Resolves with the reason of the end when the process has exited. Never rejects. */
  get exited(): Promise<HearthError> {
    return this.#exited.promise
  }

  /** Whether the process still takes runs. */
  get isAlive(): boolean {
    return this.#cause === undefined
  }

  /** Runs one request, when a slot is free. Throws `engine-failed`, `limit-reached` or the signal's reason. */
  run(request: EngineRequest, { signal, onProgress }: EngineRunOptions): Promise<EngineResult> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    if (this.#cause !== undefined) return Promise.reject(this.#cause)
    if (this.#waiting.size >= ENGINE_RUNS_WAITING_MAX) {
      return Promise.reject(
        new HearthError(
          'limit-reached',
          `the engine's queue is full: ${this.#waiting.size} requests are waiting`,
        ),
      )
    }
    const run = this.#nextRun++
    return new Promise((resolve, reject) => {
      const onAbort = (): void => this.#cancel(run, signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      const settle: Run['settle'] = (answer) => {
        signal?.removeEventListener('abort', onAbort)
        if ('result' in answer) resolve(answer.result)
        else reject(answer.error)
      }
      this.#waiting.set(run, { request, onProgress, settle })
      this.#post()
    })
  }

  /** Takes no new runs; the process is killed when its last run is answered. */
  retire(cause: HearthError): void {
    this.#retirement = cause
    this.#killIfRetired()
  }

  /** Kills the process; its unanswered runs fail with `cause`. */
  kill(cause: HearthError): void {
    this.#end(cause, () => cause)
  }

  #end(cause: HearthError, errorOf: (suspects: number) => HearthError): void {
    if (this.#cause !== undefined) return
    this.#cause = cause
    this.#cancelCheck()
    this.#child.kill('SIGKILL')
    this.#loaded.reject(cause)
    this.#failRuns(errorOf)
  }

  #listen(): void {
    this.#child.on('message', (message) => this.#receive(message as FromChild))
    this.#child.on('error', (error) => this.#fail(`the engine process: ${messageOf(error)}`))
    this.#child.on('exit', (code, signal) => {
      const isKill = signal === MEMORY_SIGNAL || signal === 'SIGKILL'
      this.#fail(describeExit(code, signal), isKill)
      this.#exited.resolve(this.#cause ?? new HearthError('engine-failed', 'the engine process ended'))
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null) {
        logLines(stream, (line) => this.#log.debug({ pid: this.pid, line }, 'engine process output'))
      }
    }
  }

  /** Hands waiting runs to the child: twice its slots at most, so that it never waits for the next one. */
  #post(): void {
    const postedMax = (this.#facts?.slots ?? 0) * 2
    for (const [run, waiting] of this.#waiting) {
      if (this.#posted.size >= postedMax) return
      this.#waiting.delete(run)
      this.#posted.set(run, waiting)
      this.#watchdog.begin(run, this.#clock.nowMs())
      this.#hand(run, waiting)
    }
  }

  /** A request that cannot be written as a message fails alone, and its slot is free. */
  #hand(run: number, { request }: Run): void {
    try {
      this.#send({ kind: 'run', run, request })
    } catch (error) {
      const why = `this request cannot be handed to the engine: ${messageOf(error)}`
      const refused = { code: 'request-invalid', message: why } as const
      this.#posted.get(run)?.settle({ result: { ok: false, statusCode: 400, error: refused } })
      this.#posted.delete(run)
      this.#watchdog.end(run)
    }
  }

  /** Answers the caller at once; the slot becomes free when the child reports it. */
  #cancel(run: number, reason: unknown): void {
    const posted = this.#posted.get(run)
    const taken = posted ?? this.#waiting.get(run)
    this.#waiting.delete(run)
    taken?.settle({ error: reason })
    if (posted !== undefined) this.#send({ kind: 'cancel', run })
  }

  #receive(message: FromChild): void {
    this.#watchdog.hear(this.#clock.nowMs())
    switch (message.kind) {
      case 'loaded':
        this.#facts = message.facts
        this.#watchdog.loaded()
        this.#loaded.resolve(message.facts)
        return this.#post()
      case 'load-failed':
        return this.kill(new HearthError(message.code, message.message))
      case 'result':
        return this.#finish(message.run, { result: message.result })
      case 'cancelled':
        return this.#finish(message.run, { error: new HearthError('engine-failed', 'the run was cancelled') })
      case 'run-failed':
        return this.#fail(message.message)
      case 'heartbeat':
        return this.#watchdog.setResidentBytes(message.residentBytes)
      case 'progress':
        for (const run of message.runs) this.#posted.get(run)?.onProgress?.()
        return
      case 'log':
        return this.#log[message.level](message.fields, message.text)
    }
  }

  #finish(run: number, answer: Parameters<Run['settle']>[0]): void {
    this.#posted.get(run)?.settle(answer)
    this.#posted.delete(run)
    this.#watchdog.end(run)
    this.#post()
    this.#killIfRetired()
  }

  #killIfRetired(): void {
    const hasRuns = this.#posted.size + this.#waiting.size > 0
    if (this.#retirement !== undefined && !hasRuns) this.kill(this.#retirement)
  }

  #check(): void {
    const complaint = this.#watchdog.check(this.#clock.nowMs())
    if (complaint !== undefined) this.#fail(complaint, true)
  }

  /** The process crashed, or is killed for what it does. Any run that it had can be the cause. */
  #fail(why: string, isKilled = false): void {
    const isKill = isKilled || this.#facts === undefined
    const cause = new EngineCrash(why, 0, { isKill })
    this.#end(cause, (suspects) => new EngineCrash(why, suspects, { isKill, cause }))
  }

  #failRuns(errorOf: (suspects: number) => HearthError): void {
    const [posted, waiting] = [[...this.#posted.values()], [...this.#waiting.values()]]
    this.#posted.clear()
    this.#waiting.clear()
    for (const { settle } of posted) settle({ error: errorOf(posted.length) })
    for (const { settle } of waiting) settle({ error: errorOf(0) })
  }

  /** An undeliverable message means a dead child; its exit event reports the reason. */
  #send(message: ToChild): void {
    if (this.#child.connected) this.#child.send(message, () => {})
  }
}

export function childEnvironment(): NodeJS.ProcessEnv {
  const inherited = Object.fromEntries(ENVIRONMENT_NAMES.map((name) => [name, process.env[name]]))
  return { ...inherited, ORT_DISABLE_TELEMETRY: '1' }
}

function describeExit(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal === MEMORY_SIGNAL) return 'the engine process used more memory than its limit'
  if (signal === 'SIGKILL')
    return 'the engine process was killed, perhaps because the machine ran out of memory'
  return signal === null
    ? `the engine process ended with code ${code}`
    : `the engine process was ended by ${signal}`
}
