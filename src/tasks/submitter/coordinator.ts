import { every, type Clock } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { EventSink } from '../../base/log/event-log.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Network } from '../../base/stream/network.ts'
import type { Random } from '../../base/random.ts'
import type { Refusal } from './core/candidate-book.ts'
import type { Candidate } from './core/candidate.ts'
import { explain, step } from './core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
  type CoordinatorState,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorOptions,
} from './core/coordinator-state.ts'
import { CoordinatorEvents } from './core/coordinator-events.ts'
import type { CommitPaceOptions } from '../journal/core/commit-pace.ts'
import { GroupCommit } from '../journal/group-commit.ts'
import type { CommitEntry, Journal } from '../journal/journal.ts'
import { COMMIT_GROUP_MAX, COMMIT_SHARE, COMMIT_WAIT_MS_MAX } from '../journal/timings.ts'
import { ALIVE_EVERY_MS, OPEN_MS } from '../wire/timings.ts'
import { DoubtedResults, errorCode } from './doubted-results.ts'
import { progressOf, WorkTime, type JobProgress } from './job-progress.ts'
import { nextTickMs } from './core/pace.ts'
import { COORDINATOR_TICK_MS, LINK_CLOSE_MS } from './timings.ts'
import { TaskLink } from './task-link.ts'
import { checkedResult } from '../wire/checked-result.ts'
import type { LeaseKey, TaskRequest, TaskResult, WorkerMessage } from '../wire/task-messages.ts'

/** Finds peers for a context. node/ builds it from the DHT and the adverts. */
export interface CandidateSource {
  /** Yields every peer found now, holder or not, as it is found. */
  find(contextId: string, options: { signal: AbortSignal }): AsyncIterable<Candidate[]>
  /** Calls `listener` whenever a peer's advert comes or changes, until the returned function is called. */
  watch(contextId: string, listener: (candidate: Candidate) => void): () => void
}

export interface CoordinatorComponents {
  network: Network
  journal: Journal
  candidates: CandidateSource
  clock: Clock
  random: Random
  log: Logger
  /** Receives every decision; optional. */
  events?: EventSink | undefined
}

export interface CoordinatorShellOptions extends CoordinatorOptions, CommitPaceOptions {
  tickMs: number
  openMs: number
  aliveEveryMs: number
  closeMs: number
}

export const COORDINATOR_SHELL_DEFAULTS: CoordinatorShellOptions = {
  ...COORDINATOR_DEFAULTS,
  tickMs: COORDINATOR_TICK_MS,
  commitShare: COMMIT_SHARE,
  commitWaitMsMax: COMMIT_WAIT_MS_MAX,
  commitGroupMax: COMMIT_GROUP_MAX,
  openMs: OPEN_MS,
  aliveEveryMs: ALIVE_EVERY_MS,
  closeMs: LINK_CLOSE_MS,
}

/**
 * Runs one job: the shell of core/coordinator. Turns its effects into task streams, journal
 * commits and look-ups, and what comes back into its events.
 */
export class Coordinator {
  #components: CoordinatorComponents
  #options: CoordinatorShellOptions
  #state: CoordinatorState
  #events: CoordinatorEvents | undefined
  #links = new Map<string, TaskLink>()
  #commits: GroupCommit
  #isFinding = false
  /** The common prefix of the job's bodies. */
  readonly #prefix: string | undefined
  readonly #doubted = new DoubtedResults()
  #stop = new AbortController()
  #outcome = Promise.withResolvers<void>()
  #startedAtMs = 0
  readonly #workTime = new WorkTime()
  /** Completion tokens of the job before this run. */
  readonly #tokensBefore: number
  #isClosing = false

  constructor(
    components: CoordinatorComponents,
    options: CoordinatorShellOptions = COORDINATOR_SHELL_DEFAULTS,
  ) {
    this.#components = components
    this.#options = options
    const { journal, events } = components
    this.#events = events === undefined ? undefined : new CoordinatorEvents(events)
    this.#prefix = journal.bodyPrefix()
    this.#tokensBefore = journal.counts().completionTokens
    this.#state = createCoordinator(
      { ranges: journal.unsettledRanges(), leases: journal.openLeases() },
      options,
    )
    this.#commits = new GroupCommit(components.clock, journal, options, {
      onCommitted: ({ peer, result: { n, epoch } }) => {
        this.#doubted.forget(n)
        this.#dispatch({ kind: 'committed', peer: peer === '' ? undefined : peer, key: { n, epoch } })
      },
      onError: (error) => this.#outcome.reject(error),
    })
  }

  /**
   * Runs until every request has its line in the journal. Throws `unschedulable` with the reason
   * when nothing could run the job for `giveUpMs`, `disk-full` when the journal cannot be written,
   * or the signal's reason; what is committed by then stays, and the job can be run again.
   */
  async run(signal?: AbortSignal): Promise<void> {
    const { clock, candidates, journal } = this.#components
    this.#startedAtMs = clock.nowMs()
    const onAbort = (): void => this.#outcome.reject(signal?.reason)
    signal?.throwIfAborted()
    signal?.addEventListener('abort', onAbort, { once: true })
    const unwatch = candidates.watch(journal.job.contextId, (candidate) =>
      this.#dispatch({ kind: 'candidates', candidates: [candidate] }),
    )
    const cancelTick = every(clock, this.#options.tickMs, () => {
      this.#workTime.note(this.explain() === undefined, clock.nowMs())
      if (clock.nowMs() >= nextTickMs(this.#state)) this.#dispatch({ kind: 'tick' })
    })
    try {
      this.#dispatch({ kind: 'start' })
      await this.#outcome.promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
      unwatch()
      cancelTick()
      await this.#close()
    }
  }

  /** How far the job is, and who works on it. */
  progress(): JobProgress {
    const { clock, journal } = this.#components
    const nowMs = clock.nowMs()
    return progressOf(this.#state, {
      elapsedMs: nowMs - this.#startedAtMs,
      workedMs: this.#workTime.workedMs(nowMs),
      completionTokens: journal.counts().completionTokens - this.#tokensBefore,
    })
  }

  /** Why nothing runs now; undefined while a request runs. */
  explain(): Refusal | undefined {
    return explain(this.#state, this.#components.clock.nowMs())
  }

  /** An impossible state ends the job, because going on could silently lose a request. */
  #dispatch(event: CoordinatorEvent, arrived?: CommitEntry): void {
    const { clock, random } = this.#components
    try {
      const effects = step(this.#state, event, clock.nowMs(), random)
      this.#events?.add(event, effects)
      for (const effect of effects) this.#perform(effect, arrived)
    } catch (error) {
      this.#outcome.reject(error)
    }
  }

  #perform(effect: CoordinatorEffect, arrived: CommitEntry | undefined): void {
    switch (effect.kind) {
      case 'find':
        void this.#find()
        break
      case 'open':
        this.#open(effect.peer)
        break
      case 'close':
        this.#links.get(effect.peer)?.end(effect.reason)
        break
      case 'lease':
        // The link sends this itself with the first of the requests that follow.
        break
      case 'send':
        this.#send(effect.peer, effect.leases)
        break
      case 'commit':
        this.#commits.addResult(requireArrived(effect, arrived))
        break
      case 'doubt':
        this.#doubted.keep(requireArrived(effect, arrived))
        break
      case 'accept':
        this.#commits.addResult(this.#doubted.accept(effect.key))
        break
      case 'fail':
        this.#commits.addResult({ peer: '', result: ownError(effect) })
        break
      case 'acknowledge':
        this.#links.get(effect.peer)?.acknowledge(effect.keys)
        break
      case 'cancel':
        this.#links.get(effect.peer)?.cancel(effect.keys)
        break
      case 'give-up':
        this.#outcome.reject(
          new HearthError('unschedulable', effect.reason.words, { data: { ...effect.reason } }),
        )
        break
      case 'finish':
        this.#outcome.resolve()
        break
    }
  }

  async #find(): Promise<void> {
    if (this.#isFinding) return
    this.#isFinding = true
    const { candidates, journal, log } = this.#components
    try {
      for await (const found of candidates.find(journal.job.contextId, { signal: this.#stop.signal })) {
        this.#dispatch({ kind: 'candidates', candidates: found })
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) log.debug({ error: messageOf(error) }, 'search for peers failed')
    } finally {
      this.#isFinding = false
    }
  }

  #open(peer: string): void {
    const { journal, log } = this.#components
    const { jobId: job, contextId } = journal.job
    const { openMs, aliveEveryMs, silenceMs, leaseSize } = this.#options
    const link: TaskLink = new TaskLink(
      this.#components,
      peer,
      { job, contextId, prefix: this.#prefix, leaseSize, openMs, aliveEveryMs, silenceMs },
      {
        onMessage: (message) => this.#onMessage(peer, message),
        onEnd: (reason) => {
          if (this.#links.get(peer) === link) this.#links.delete(peer)
          log.info({ peer, reason }, 'task link ended')
          // A link that this run ends is no lost peer.
          if (!this.#isClosing) this.#dispatch({ kind: 'lost', peer, reason })
        },
      },
    )
    this.#links.set(peer, link)
    void link.run(() => this.#dispatch({ kind: 'opened', peer }))
  }

  #onMessage(peer: string, message: WorkerMessage): void {
    switch (message.type) {
      case 'status':
        this.#dispatch({
          kind: 'status',
          peer,
          phase: message.phase,
          reason: message.reason,
          detail: message.detail,
        })
        break
      case 'credit':
        this.#dispatch({ kind: 'credit', peer, requests: message.requests })
        break
      case 'results':
        for (const result of message.results) this.#onResult(peer, result)
        if (message.credit !== undefined) this.#dispatch({ kind: 'credit', peer, requests: message.credit })
        break
      case 'returned':
        this.#dispatch({ kind: 'returned', peer, keys: message.requests })
        break
      case 'alive':
        this.#dispatch({ kind: 'heard', peer })
        break
    }
  }

  #onResult(peer: string, result: TaskResult): void {
    const checked = checkedResult(result)
    const key = { n: result.n, epoch: result.epoch }
    const { outcome } = checked
    const code = outcome === 'bad-request' ? errorCode(checked) : undefined
    this.#dispatch({ kind: 'result', peer, key, outcome, code }, { peer, result: checked })
  }

  #send(peer: string, leases: LeaseKey[]): void {
    this.#workTime.note(true, this.#components.clock.nowMs())
    this.#commits.addLeases(peer, leases)
    this.#links.get(peer)?.send(leases, (some) => this.#read(some))
  }

  /** A journal that cannot be read ends the job: the peer of the link has no part in it. */
  #read(leases: readonly LeaseKey[]): TaskRequest[] {
    try {
      return this.#components.journal.requests(leases)
    } catch (error) {
      this.#outcome.reject(error)
      throw error
    }
  }

  async #close(): Promise<void> {
    this.#commits.flush()
    this.#isClosing = true
    const links = [...this.#links.values()]
    this.#links.clear()
    await Promise.all(links.map((link) => link.finish(this.#options.closeMs)))
    this.#stop.abort(new HearthError('stream-closed', 'the job has ended'))
  }
}

/** The result of a commit or doubt effect. Throws `internal` unless the same event carried it. */
export function requireArrived(
  { peer, key }: Extract<CoordinatorEffect, { kind: 'commit' | 'doubt' }>,
  arrived: CommitEntry | undefined,
): CommitEntry {
  if (arrived?.peer === peer && arrived.result.n === key.n && arrived.result.epoch === key.epoch)
    return arrived
  throw new HearthError(
    'internal',
    `request ${key.n} cannot be committed, because the result of peer ${peer} is missing`,
  )
}

function ownError(effect: Extract<CoordinatorEffect, { kind: 'fail' }>): TaskResult {
  const body = JSON.stringify({ code: effect.code, message: effect.message })
  return {
    ...effect.key,
    outcome: 'bad-request',
    statusCode: 500,
    body,
    promptTokens: 0,
    completionTokens: 0,
  }
}
