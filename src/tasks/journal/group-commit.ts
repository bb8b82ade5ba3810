import type { Cancel, Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { onNextTurn } from '../../base/event-loop.ts'
import type { CommitEntry, Journal, SentLeases } from './journal.ts'
import type { LeaseKey } from '../wire/task-messages.ts'

export interface GroupCommitOptions {
  /**
   * A result is made durable at once when none was lately. Else it waits for others to go with, so long
   * that commits take this share of the time, at most `commitWaitMsMax`; or until there are `commitGroupMax`.
   */
  commitShare: number
  commitWaitMsMax: number
  commitGroupMax: number
}

/** Commits over which their time is averaged. */
const MEAN_OVER = 8

export interface GroupCommitListener {
  /** A result is in the journal now, by this commit or by an earlier one. */
  onCommitted(entry: CommitEntry): void
  /** The journal cannot be written. */
  onError(error: unknown): void
}

/** Leases and results on their way into the journal, many in one transaction. */
export class GroupCommit {
  readonly #clock: Clock
  readonly #journal: Journal
  readonly #options: GroupCommitOptions
  readonly #listener: GroupCommitListener
  #sent: SentLeases[] = []
  #results: CommitEntry[] = []
  #cancel: Cancel | undefined
  #nextAtMs = 0
  /** What a commit takes, the mean of the last ones: a disk that is slow once is not waited for again. */
  #usualMs = 0

  constructor(clock: Clock, journal: Journal, options: GroupCommitOptions, listener: GroupCommitListener) {
    this.#clock = clock
    this.#journal = journal
    this.#options = options
    this.#listener = listener
  }

  /** Leases become durable with the next results: before then, nothing depends on them. */
  addLeases(peer: string, leases: readonly LeaseKey[]): void {
    this.#sent.push({ peer, leases })
  }

  addResult(entry: CommitEntry): void {
    this.#results.push(entry)
    if (this.#results.length >= this.#options.commitGroupMax) return this.#commit()
    if (this.#cancel !== undefined) return
    const waitMs = this.#nextAtMs - this.#clock.nowMs()
    const commit = (): void => this.#commit()
    this.#cancel = waitMs > 0 ? this.#clock.schedule(waitMs, commit) : afterThis(commit)
  }

  /** Commits what waits. */
  flush(): void {
    if (this.#results.length > 0) this.#commit()
  }

  #commit(): void {
    this.#cancel?.()
    this.#cancel = undefined
    const sent = this.#sent
    const results = this.#results
    this.#sent = []
    this.#results = []
    try {
      const beganMs = this.#clock.nowMs()
      const verdicts = this.#journal.commit(sent, results, this.#clock.wallMs())
      const endedMs = this.#clock.nowMs()
      const { commitShare, commitWaitMsMax } = this.#options
      this.#usualMs += (endedMs - beganMs - this.#usualMs) / MEAN_OVER
      this.#nextAtMs = endedMs + Math.min(commitWaitMsMax, this.#usualMs * (1 / commitShare - 1))
      for (const [index, entry] of results.entries()) {
        if (verdicts[index] === 'stale') {
          throw new HearthError('internal', `request ${entry.result.n} was committed under an old epoch`)
        }
        this.#listener.onCommitted(entry)
      }
    } catch (error) {
      this.#listener.onError(error)
    }
  }
}

/**
 * Runs `work` in the next turn of the event loop. By then the results of one frame are together, and what was
 * sent on them has left: a commit blocks the process until the disk has it, and would keep a peer waiting.
 */
function afterThis(work: () => void): Cancel {
  let isCancelled = false
  onNextTurn(() => {
    if (!isCancelled) work()
  })
  return () => {
    isCancelled = true
  }
}
