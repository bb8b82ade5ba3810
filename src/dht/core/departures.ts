import { HearthError } from '../../base/errors.ts'
import { randomBetween, type Random } from '../../base/random.ts'

/** When members that hung up are dialled. */
export interface DeparturesOptions {
  /** A lost member is dialled again after a while between these two, ms, so that not all dial at once. */
  redialMinMs: number
  redialMaxMs: number
  dialDeadlineMs: number
  /** Lost members checked at the same time; of more, the adverts are left to expire. */
  checksAtOnce: number
}

/** Which members that hung up are being checked: each is dialled once, since a connection may end though its peer is well. */
export class DepartureChecks<Peer> {
  readonly #options: DeparturesOptions
  readonly #checking = new Set<Peer>()

  constructor(options: DeparturesOptions) {
    this.#options = options
  }

  /** A member's last connection has ended. Returns after how long it is dialled, ms; undefined when it is not. */
  begin(peer: Peer, random: Random): number | undefined {
    const { redialMinMs, redialMaxMs, checksAtOnce } = this.#options
    if (this.#checking.has(peer) || this.#checking.size >= checksAtOnce) return undefined
    this.#checking.add(peer)
    return randomBetween(random, redialMinMs, redialMaxMs)
  }

  /** Ends a check: the peer was dialled, or is connected again. */
  end(peer: Peer): void {
    if (!this.#checking.delete(peer)) throw new HearthError('internal', 'a check ended that had not begun')
  }
}
