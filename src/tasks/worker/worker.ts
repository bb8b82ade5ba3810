import { every, type Cancel, type Clock } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network } from '../../base/stream/network.ts'
import {
  submitterMessageSchema,
  TASK_PROTOCOL,
  type SubmitterMessage,
  type TaskRequest,
  type TaskResult,
} from '../wire/task-messages.ts'
import { isDrained } from './core/drain.ts'
import { ALIVE_EVERY_MS, OPEN_MS, SUBMITTER_SILENCE_MS } from '../wire/timings.ts'
import { stepWorker } from './core/worker.ts'
import { WORKER_FLUSH_MS_MAX, WORKER_LOADING_TOLD_MS, WORKER_TICK_MS } from './timings.ts'
import { WorkerSession } from './worker-session.ts'
import {
  createWorker,
  WORKER_CORE_DEFAULTS,
  type WorkerState,
  type WorkerEffect,
  type WorkerEvent,
  type WorkerOptions,
} from './core/worker-state.ts'

/** The result of a run. */
export type RunResult = Omit<TaskResult, 'n' | 'epoch'>

/** A context that is warm: runs requests, many at a time. */
export interface WarmContext {
  /** Requests that run at once; further ones wait inside. */
  slots: number
  /** Never throws for a bad request. A throw means that this peer failed, and another peer gets the request. */
  run(request: { url: string; body: string }, options: RunOptions): Promise<RunResult>
}

export interface RunOptions {
  signal: AbortSignal
  /** Called whenever something of the request was computed: one without progress is taken away. */
  onProgress(): void
}

export interface PrepareOptions {
  signal: AbortSignal
  onProgress(phase: 'fetching' | 'loading', detail: string): void
}

export interface WorkerComponents {
  network: Network
  clock: Clock
  log: Logger
  /** Makes a context warm: fetched, verified and loaded. Throws a HearthError that says why it cannot be. */
  prepare(contextId: string, options: PrepareOptions): Promise<WarmContext>
  /** Unloads a context and, unless `keepsFiles`, removes what was fetched of it. */
  discard: (contextId: string, options: { keepsFiles: boolean }) => Promise<void>
}

export interface WorkerShellOptions extends WorkerOptions {
  aliveEveryMs: number
  /** How long a submitter may be silent, or not read its messages, ms. */
  silenceMs: number
  /** Deadline for a submitter's first message, ms. */
  openMs: number
}

export const WORKER_DEFAULTS: WorkerShellOptions = {
  ...WORKER_CORE_DEFAULTS,
  aliveEveryMs: ALIVE_EVERY_MS,
  silenceMs: SUBMITTER_SILENCE_MS,
  openMs: OPEN_MS,
}

/** The status of a serving peer, for its owner. */
export interface WorkerStatus {
  accepts: boolean
  reason: string
  sessions: { submitter: string; job: string; contextId: string; running: number }[]
  running: number
  undeliveredBytes: number
  completed: number
  /** The last context that failed to load, until another one loads. */
  lastFailure: { contextId: string; reason: string; detail: string } | undefined
}

/** Serves task streams: the shell of core/worker. */
export class Worker {
  #components: WorkerComponents
  #options: WorkerShellOptions
  #state: WorkerState
  #sessions = new Map<string, WorkerSession>()
  #contexts = new Map<string, WarmContext>()
  #preparing = new Map<string, Promise<void>>()
  #runs = new Map<number, AbortController>()
  /** Runs that got on since the last tick. */
  readonly #progressed = new Set<number>()
  #stop = new AbortController()
  #unhandle: (() => Promise<void>) | undefined
  #cancelTick: Cancel = () => {}
  #nextSession = 1
  #onDrained: () => void = () => {}
  #completed = 0
  #lastFailure: WorkerStatus['lastFailure']

  constructor(components: WorkerComponents, options: WorkerShellOptions = WORKER_DEFAULTS) {
    this.#components = components
    this.#options = options
    this.#state = createWorker(options)
  }

  async start(): Promise<void> {
    this.#stop = new AbortController()
    this.#state = createWorker(this.#options)
    this.#unhandle = await this.#components.network.handle(TASK_PROTOCOL, (stream) => this.#serve(stream))
    this.#cancelTick = every(this.#components.clock, WORKER_TICK_MS, () => this.#tick())
  }

  async stop(): Promise<void> {
    await this.drain(AbortSignal.abort())
    this.#stop.abort(new HearthError('stream-closed', 'the peer is stopping'))
    this.#cancelTick()
    await this.#unhandle?.()
    this.#contexts.clear()
  }

  /**
   * Leaves: takes nothing new, gives back at once what has not begun, and resolves when what runs is done
   * and acknowledged, or is given back too because `finish` is aborted. Nothing is taken until `start()`.
   */
  async drain(finish: AbortSignal): Promise<void> {
    const drained = Promise.withResolvers<void>()
    const onFinish = (): void => {
      this.#dispatch({ kind: 'drain-over' })
      drained.resolve()
    }
    this.#onDrained = drained.resolve
    finish.addEventListener('abort', onFinish, { once: true })
    this.#dispatch({ kind: 'drain' })
    if (finish.aborted) onFinish()
    await drained.promise
    finish.removeEventListener('abort', onFinish)
    await this.#flush()
  }

  /** Whether the owner lets this peer work; `reason` is a code, as 'paused'. */
  setAccepting(accepts: boolean, reason: string): void {
    this.#dispatch({ kind: 'owner', accepts, reason })
  }

  /** Marks a context as no longer warm: its sessions end, and its next request prepares it again. */
  forget(contextId: string, reason: string, detail: string = reason): void {
    this.#contexts.delete(contextId)
    this.#dispatch({ kind: 'unprepared', contextId, reason, detail })
  }

  status(): WorkerStatus {
    return {
      accepts: this.#state.accepts,
      reason: this.#state.reason,
      sessions: [...this.#state.sessions.values()].map(({ submitter, job, contextId, runs }) => ({
        submitter,
        job,
        contextId,
        running: runs.size,
      })),
      running: this.#runs.size,
      undeliveredBytes: this.#state.ledger.bytes,
      completed: this.#completed,
      lastFailure: this.#lastFailure,
    }
  }

  async #serve(stream: MessageStream): Promise<void> {
    const { clock, log } = this.#components
    const { openMs, silenceMs, aliveEveryMs } = this.#options
    const signal = this.#stop.signal
    const first = await stream.receive(submitterMessageSchema, { deadlineMs: openMs, signal })
    if (first?.type !== 'open')
      throw new HearthError('message-invalid', `the first message of peer ${stream.peer} was not open`)
    const session = `session-${this.#nextSession++}`
    const link = new WorkerSession(stream, first.prefix, { deadlineMs: silenceMs, signal })
    this.#sessions.set(session, link)
    const cancelAlive = every(clock, aliveEveryMs, () => link.sayAlive())
    log.info({ peer: stream.peer, job: first.job, contextId: first.contextId }, 'task session opened')
    try {
      const { job, contextId, leaseSize } = first
      this.#dispatch({ kind: 'opened', session, submitter: stream.peer, job, contextId, leaseSize })
      for (;;) {
        const message = await stream.receive(submitterMessageSchema, { deadlineMs: silenceMs, signal })
        if (message === undefined) break
        this.#onMessage(session, link, message)
      }
    } catch (error) {
      log.info({ peer: stream.peer, job: first.job, reason: messageOf(error) }, 'task session broke')
    } finally {
      cancelAlive()
      this.#dispatch({ kind: 'lost', session })
      this.#sessions.delete(session)
      stream.abort(new HearthError('stream-closed', 'the session has ended'))
    }
  }

  #onMessage(session: string, link: WorkerSession, message: SubmitterMessage): void {
    switch (message.type) {
      case 'open':
        throw new HearthError('message-invalid', 'a task stream was opened twice')
      case 'requests':
        if (message.lease !== undefined) this.#dispatch({ kind: 'lease', session, requests: message.lease })
        this.#dispatch({ kind: 'requests', session, requests: link.whole(message.requests) })
        break
      case 'acknowledge':
        this.#dispatch({ kind: 'acknowledged', session, keys: message.results })
        break
      case 'cancel':
        this.#dispatch({ kind: 'cancelled', session, keys: message.requests })
        break
      case 'alive':
        break
    }
  }

  #dispatch(event: WorkerEvent): void {
    for (const effect of stepWorker(this.#state, event, this.#components.clock.nowMs())) this.#perform(effect)
    if (isDrained(this.#state)) this.#onDrained()
  }

  #tick(): void {
    if (this.#progressed.size > 0) this.#dispatch({ kind: 'progressed', runs: [...this.#progressed] })
    this.#progressed.clear()
    this.#dispatch({ kind: 'tick' })
  }

  #perform(effect: WorkerEffect): void {
    switch (effect.kind) {
      case 'status':
        this.#sessions.get(effect.session)?.sendStatus(effect)
        break
      case 'credit':
        this.#sessions.get(effect.session)?.giveCredit(effect.requests)
        break
      case 'deliver':
        this.#sessions.get(effect.session)?.deliver(effect.results)
        break
      case 'return':
        this.#sessions.get(effect.session)?.giveBack(effect.keys)
        break
      case 'end':
        void this.#end(effect.session, effect.reason)
        break
      case 'prepare':
        this.#preparing.set(effect.contextId, this.#prepare(effect.contextId))
        break
      case 'discard':
        void this.#discard(effect)
        break
      case 'run':
        void this.#run(effect.run, effect.contextId, effect.request)
        break
      case 'stop-run':
        this.#runs.get(effect.run)?.abort(new HearthError('stream-closed', 'no longer wanted'))
        break
    }
  }

  /** Sends the queued messages first, but does not wait for a submitter that does not read. */
  async #flush(): Promise<void> {
    const over = Promise.withResolvers<void>()
    const cancel = this.#components.clock.schedule(WORKER_FLUSH_MS_MAX, over.resolve)
    const flushed = [...this.#sessions.values()].map((session) => session.flushed())
    await Promise.race([Promise.all(flushed), over.promise])
    cancel()
  }

  async #end(session: string, reason: string): Promise<void> {
    try {
      await this.#sessions.get(session)?.end()
    } catch (error) {
      this.#components.log.debug({ reason, error: messageOf(error) }, 'closing a session failed')
    }
  }

  async #prepare(contextId: string): Promise<void> {
    const { clock, log } = this.#components
    let last: Extract<WorkerEvent, { kind: 'progress' }> | undefined
    const onProgress = (phase: 'fetching' | 'loading', detail: string): void => {
      last = { kind: 'progress', contextId, phase, detail }
      this.#dispatch(last)
    }
    // Loading has no steps, and its own deadline.
    const cancel = every(clock, WORKER_LOADING_TOLD_MS, () => {
      if (last?.phase === 'loading') this.#dispatch(last)
    })
    try {
      const context = await this.#components.prepare(contextId, { signal: this.#stop.signal, onProgress })
      this.#contexts.set(contextId, context)
      this.#lastFailure = undefined
      this.#dispatch({ kind: 'prepared', contextId, slots: context.slots })
    } catch (error) {
      log.warn({ contextId, error: messageOf(error) }, 'preparing a context failed')
      const reason = isHearthError(error) ? error.code : 'internal'
      this.#lastFailure = { contextId, reason, detail: messageOf(error) }
      this.#dispatch({ kind: 'unprepared', ...this.#lastFailure })
    } finally {
      cancel()
      this.#preparing.delete(contextId)
    }
  }

  /** Waits for a context that is being prepared, so that an almost finished download is not lost. */
  async #discard({ contextId, keepsFiles }: Extract<WorkerEffect, { kind: 'discard' }>): Promise<void> {
    const { log, discard } = this.#components
    await this.#preparing.get(contextId)
    this.#contexts.delete(contextId)
    try {
      await discard(contextId, { keepsFiles })
    } catch (error) {
      log.warn({ contextId, error: messageOf(error) }, 'unloading a context failed')
    }
    this.#dispatch({ kind: 'discarded', contextId })
  }

  async #run(run: number, contextId: string, request: TaskRequest): Promise<void> {
    const stop = new AbortController()
    this.#runs.set(run, stop)
    try {
      const context = this.#contexts.get(contextId)
      if (context === undefined) throw new HearthError('engine-failed', 'the context is no longer loaded')
      const onProgress = (): void => void this.#progressed.add(run)
      const { url, body } = request
      const result = await context.run({ url, body }, { signal: stop.signal, onProgress })
      this.#completed += 1
      this.#dispatch({ kind: 'done', run, result })
    } catch (error) {
      if (!stop.signal.aborted) this.#dispatch({ kind: 'done', run, result: failedRun(error) })
    } finally {
      this.#runs.delete(run)
      this.#progressed.delete(run)
    }
  }
}

/** This peer failed on the request; another peer may succeed. */
function failedRun(error: unknown): RunResult {
  const code = isHearthError(error) ? error.code : 'internal'
  const body = JSON.stringify({ code, message: messageOf(error) })
  return { outcome: 'retry', statusCode: 503, body, promptTokens: 0, completionTokens: 0 }
}
