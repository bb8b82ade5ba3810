import type { Cancel, Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { onNextTurn } from '../../base/event-loop.ts'
import { CommitPace, type CommitPaceOptions } from './core/commit-pace.ts'
import type { CommitEntry, Journal, SentLeases } from './journal.ts'
import type { LeaseKey } from '../wire/task-messages.ts'

export interface GroupCommitListener {
  /** Called when a result is in the journal, from this commit or an earlier one. */
  onCommitted(entry: CommitEntry): void
  /** Called when the journal cannot be written. */
  onError(error: unknown): void
}

/** Leases and results on their way into the journal, many in one transaction: the shell of core/commit-pace. */
export class GroupCommit {
  readonly #clock: Clock
  readonly #journal: Journal
  readonly #pace: CommitPace
  readonly #listener: GroupCommitListener
  #sent: SentLeases[] = []
  #results: CommitEntry[] = []
  #cancel: Cancel | undefined

  constructor(clock: Clock, journal: Journal, options: CommitPaceOptions, listener: GroupCommitListener) {
    this.#clock = clock
    this.#journal = journal
    this.#pace = new CommitPace(options)
    this.#listener = listener
  }

  /** Leases become durable with the next results; nothing depends on them earlier. */
  addLeases(peer: string, leases: readonly LeaseKey[]): void {
    this.#sent.push({ peer, leases })
  }

  addResult(entry: CommitEntry): void {
    this.#results.push(entry)
    if (this.#pace.isFull(this.#results.length)) return this.#commit()
    if (this.#cancel !== undefined) return
    const waitMs = this.#pace.waitMs(this.#clock.nowMs())
    const commit = (): void => this.#commit()
    this.#cancel = waitMs > 0 ? this.#clock.schedule(waitMs, commit) : afterThis(commit)
  }

  /** Commits the waiting entries. */
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
      this.#pace.committed(beganMs, this.#clock.nowMs())
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
 * new requests have left: a commit blocks the process until it is on disk, and would keep a peer waiting.
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
