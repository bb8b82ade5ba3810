import { HearthError } from '../../../base/errors.ts'
import { pick, type Random } from '../../../base/random.ts'

export interface NewcomersOptions {
  /** How often one connected member, chosen at random, is asked whom it knows, ms. */
  askEveryMs: number
  /** Connected members at which no introduced peer is dialled. */
  membersWanted: number
  /** Dials under way. */
  dialsAtOnce: number
  dialDeadlineMs: number
  /** Addresses of one introduced peer that are tried. */
  addressesTried: number
  /** After so many failed dials in a row, what a member tells is not used for as many times `avoidMs`. */
  failuresMax: number
  /** A peer that could not be dialled, and its addresses, are left alone for so long, ms. */
  avoidMs: number
  /** Failed peers, addresses and members remembered at once: more only means that one may be dialled again sooner. */
  avoidedMax: number
}

/** A peer that a member tells of: see members.ts. */
export interface Introduced {
  peer: string
  addresses: readonly string[]
}

interface Dial {
  introducer: string
  addresses: readonly string[]
}

/** Chooses the members to ask for introductions, and the introduced peers to dial. */
export class NewcomersBook {
  readonly #options: NewcomersOptions
  readonly #avoidUntilMs = new Map<string, number>()
  readonly #dialling = new Map<string, Dial>()
  /** Dials in a row that failed, by the member that told of the peer. */
  readonly #failuresOf = new Map<string, number>()
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

  /**
   * Which of those that `introducer` told of to dial now, and where. `known`: this peer, and those connected.
   * An address that did not answer is left alone, whoever is said to be there, and so is the word of a member
   * whose introductions lead nowhere.
   */
  dial(
    introducer: string,
    introduced: readonly Introduced[],
    known: readonly string[],
    nowMs: number,
  ): Introduced[] {
    if (this.#isAvoided(introducer, nowMs)) return []
    const { addressesTried, dialsAtOnce } = this.#options
    const isKnown = new Set(known)
    const strangers = introduced
      .filter(({ peer }) => !isKnown.has(peer) && !this.#dialling.has(peer) && !this.#isAvoided(peer, nowMs))
      .map(({ peer, addresses }) => ({
        peer,
        addresses: addresses.filter((address) => !this.#isAvoided(address, nowMs)).slice(0, addressesTried),
      }))
      .filter(({ addresses }) => addresses.length > 0)
    const dialled = strangers.slice(0, Math.max(0, dialsAtOnce - this.#dialling.size))
    for (const { peer, addresses } of dialled) this.#dialling.set(peer, { introducer, addresses })
    return dialled
  }

  met(peer: string): void {
    const { introducer } = this.#end(peer)
    this.#avoidUntilMs.delete(peer)
    this.#failuresOf.delete(introducer)
  }

  failed(peer: string, nowMs: number): void {
    const { introducer, addresses } = this.#end(peer)
    const { avoidMs, failuresMax } = this.#options
    for (const avoided of [peer, ...addresses]) this.#avoid(avoided, nowMs + avoidMs)
    const failures = (this.#failuresOf.get(introducer) ?? 0) + 1
    this.#failuresOf.delete(introducer)
    if (failures >= failuresMax) this.#avoid(introducer, nowMs + avoidMs * failuresMax)
    else this.#failuresOf.set(introducer, failures)
    this.#bound(this.#failuresOf)
  }

  #isAvoided(peerOrAddress: string, nowMs: number): boolean {
    return (this.#avoidUntilMs.get(peerOrAddress) ?? 0) > nowMs
  }

  #avoid(peerOrAddress: string, untilMs: number): void {
    this.#avoidUntilMs.delete(peerOrAddress)
    this.#avoidUntilMs.set(peerOrAddress, untilMs)
    this.#bound(this.#avoidUntilMs)
  }

  /** The oldest entries go. */
  #bound(entries: Map<string, number>): void {
    for (const key of entries.keys()) {
      if (entries.size <= this.#options.avoidedMax) return
      entries.delete(key)
    }
  }

  #end(peer: string): Dial {
    const dial = this.#dialling.get(peer)
    if (dial === undefined) throw new HearthError('internal', 'a dial ended that had not begun')
    this.#dialling.delete(peer)
    return dial
  }
}
