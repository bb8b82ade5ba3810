import { HearthError } from '../../../base/errors.ts'
import { pick, type Random } from '../../../base/random.ts'

export interface NewcomersOptions {
  /** How often one connected member, chosen at random, is asked whom it knows, ms. */
  askEveryMs: number
  /** Connected members at which no introduced peer is dialled. */
  membersWanted: number
  /** Dials begun after one answer. */
  dialsAtOnce: number
  dialDeadlineMs: number
  /** A peer that could not be dialled is left alone for so long, ms. */
  avoidMs: number
  /** Failed peers remembered at once; more only means that one may be dialled again sooner. */
  avoidedMax: number
}

/** Chooses the members to ask for introductions, and the introduced peers to dial. */
export class NewcomersBook {
  readonly #options: NewcomersOptions
  readonly #avoidUntilMs = new Map<string, number>()
  readonly #dialling = new Set<string>()
  #isAsking = false

  constructor(options: NewcomersOptions) {
    this.#options = options
  }

  /** The connected member to ask now; undefined while one is asked, or when enough are connected. */
  ask(connected: readonly string[], random: Random): string | undefined {
    if (this.#isAsking || connected.length >= this.#options.membersWanted) return undefined
    const asked = pick(random, connected)
    this.#isAsking = asked !== undefined
    return asked
  }

  /** The member that was asked has answered, or will not. */
  answered(): void {
    if (!this.#isAsking) throw new HearthError('internal', 'an answer came though no member was asked')
    this.#isAsking = false
  }

  /** Which of those introduced to dial now. `known`: this peer, and those connected. */
  dial(introduced: readonly string[], known: readonly string[], nowMs: number): string[] {
    const isKnown = new Set(known)
    const strangers = introduced.filter(
      (peer) =>
        !isKnown.has(peer) && !this.#dialling.has(peer) && (this.#avoidUntilMs.get(peer) ?? 0) <= nowMs,
    )
    const dialled = strangers.slice(0, this.#options.dialsAtOnce)
    for (const peer of dialled) this.#dialling.add(peer)
    return dialled
  }

  met(peer: string): void {
    this.#end(peer)
    this.#avoidUntilMs.delete(peer)
  }

  failed(peer: string, nowMs: number): void {
    this.#end(peer)
    if (this.#avoidUntilMs.size >= this.#options.avoidedMax) this.#avoidUntilMs.clear()
    this.#avoidUntilMs.set(peer, nowMs + this.#options.avoidMs)
  }

  #end(peer: string): void {
    if (!this.#dialling.delete(peer)) throw new HearthError('internal', 'a dial ended that had not begun')
  }
}
