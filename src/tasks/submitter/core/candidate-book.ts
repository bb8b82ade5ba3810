import { CANDIDATES_KNOWN_MAX } from '../../../base/limits.ts'
import { invariant, present } from '../../../base/invariants.ts'
import type { Random } from '../../../base/random.ts'
import { SmallMap } from '../../../base/small-map.ts'
import { backoffMs, withJitter } from '../../../base/waiting/backoff.ts'
import { REQUEST_RATE, WorkRate } from '../../../base/work-rate.ts'
import { saysSomething, saysTheSame, weighsTheSame, type Candidate } from './candidate.ts'
import { usualFacts, type ReadyDefaults } from './ready-cost.ts'
import { RecruitOrder } from './recruit-order.ts'
import type { Phase } from '../../wire/task-messages.ts'

/** Why nothing runs: a code for programs, words for people. */
export interface Refusal {
  code: string
  words: string
}

/** known: no link. connecting: a link is being made. Otherwise what the peer says of itself. */
export type PeerPhase = 'known' | 'connecting' | ReachedPhase
export type ReachedPhase = Exclude<Phase, 'refused'>

/** A peer reports its phases in any order. Connecting comes before all of them, and any link can be lost. */
const MOVES: Readonly<Record<PeerPhase, readonly PeerPhase[]>> = {
  known: ['connecting'],
  connecting: ['queued', 'known'],
  queued: ['queued', 'fetching', 'loading', 'ready', 'known'],
  fetching: ['queued', 'fetching', 'loading', 'ready', 'known'],
  loading: ['queued', 'fetching', 'loading', 'ready', 'known'],
  ready: ['queued', 'fetching', 'loading', 'ready', 'known'],
}

/** A coordinator's view of one peer. */
export interface PeerView extends Candidate {
  readonly peer: string
  phase: PeerPhase
  /** The peer's report of its progress, such as "fetching 41 %". */
  detail: string | undefined
  /** Why it was not used when it was last tried; cleared once it is ready. */
  refusal: Refusal | undefined
  /** Requests it wants now. */
  credit: number
  /** Requests leased to the peer, with the time each was sent, in that order. */
  outstanding: SmallMap<number>
  /** Results per second of the time in which it has requests. */
  rate: WorkRate
  /** From a request to its result, the mean of the last ones, ms; 0 while there is none. */
  tookMs: number
  /** When its last result came, or when it got work after it had none. */
  progressAtMs: number
  heardAtMs: number
  failures: number
  /** Requests on which it failed since its last result. */
  failuresInRow: number
  /** Its errors that no second peer has confirmed, and those that a second peer has answered instead. */
  doubted: number
  contradicted: number
  retryAtMs: number
  resultCount: number
  /** Drawn by this coordinator, in [0, 1). */
  readonly lot: number
}

export interface CandidateBookOptions extends ReadyDefaults {
  peersMax: number
  retryMs: number
  retryMsMax: number
}

/** The time before which a peer with a broken link is not tried again. */
const UNREACHABLE = 'unreachable'

/** What a peer says of a context that no further try would make run. */
export const NEVER_RUNS: ReadonlySet<string> = new Set(['model-unsupported', 'context-invalid'])

/** Optional fields of an advert: those absent from a new advert are cleared. */
const SAYS_NOTHING: Omit<Candidate, 'peer' | 'tier' | 'accepts'> = {
  isHere: undefined,
  reason: undefined,
  share: undefined,
  bytes: undefined,
  loadMs: undefined,
  fetchBytesPerSecond: undefined,
  tokensPerSecond: undefined,
}

/** The peers that a coordinator knows: those in use, those available, and why the rest are not. Pure data. */
export class CandidateBook {
  #options: CandidateBookOptions
  /** Peers without a link, in the order in which they came to be without one: of too many the first is forgotten. */
  #known = new Map<string, PeerView>()
  /** Peers with a link, or with one being made. */
  #linked = new Map<string, PeerView>()
  /** The number of them that are past connecting. */
  #reached = 0
  /** The number of peers that have at least a part of the context. */
  #holders = 0
  /** Peers without a link, the best first. */
  #order: RecruitOrder
  /** Whether what is usual among all of them must be worked out again. */
  #isUsualOld = false
  /** No peer that waits to be tried again may be before this. */
  #retryAtMs = Infinity

  constructor(options: CandidateBookOptions) {
    this.#options = options
    this.#order = new RecruitOrder(options)
  }

  get(peer: string): PeerView | undefined {
    return this.#linked.get(peer) ?? this.#known.get(peer)
  }

  all(): PeerView[] {
    return [...this.#linked.values(), ...this.#known.values()]
  }

  /** Peers with a link, or with one being made. */
  openPeers(): PeerView[] {
    return [...this.#linked.values()]
  }

  /** The same, without a copy: not to be changed meanwhile. */
  linked(): Iterable<PeerView> {
    return this.#linked.values()
  }

  get size(): number {
    return this.#linked.size + this.#known.size
  }

  get linkedCount(): number {
    return this.#linked.size
  }

  /** Whether a link could be made to one more. */
  get hasRoom(): boolean {
    return this.#linked.size < this.#options.peersMax
  }

  /** The number of peers that are ready or are preparing. */
  get reachedCount(): number {
    return this.#reached
  }

  /** Whether a peer is ready or is preparing. */
  get isReached(): boolean {
    return this.#reached > 0
  }

  /** The first that waits may be tried again then, or a little later; infinite when none waits. */
  get retryAtMs(): number {
    return this.#retryAtMs
  }

  learn(candidate: Candidate, random: Random): void {
    const view = this.get(candidate.peer) ?? this.#add(candidate.peer, random)
    const isLinked = this.#linked.has(candidate.peer)
    if (!saysTheSame(view, candidate)) this.#change(view, candidate, isLinked)
    if (isLinked) return
    if (candidate.isHere === true && view.refusal?.code === UNREACHABLE) this.#tryAgain(view)
    if (!candidate.accepts) {
      view.refusal = { code: candidate.reason ?? 'refused', words: candidate.reason ?? 'it takes no work' }
    } else if (view.retryAtMs === 0) {
      view.refusal = undefined
    }
  }

  #tryAgain(view: PeerView): void {
    this.#order.delete(view)
    view.failures = 0
    view.retryAtMs = 0
    this.#order.add(view)
  }

  #change(view: PeerView, candidate: Candidate, isLinked: boolean): void {
    if (!isLinked) this.#order.delete(view)
    if (!weighsTheSame(view, candidate)) this.#isUsualOld = true
    this.#holders += Number(candidate.tier !== 'absent') - Number(view.tier !== 'absent')
    Object.assign(view, SAYS_NOTHING, candidate)
    if (!isLinked) this.#order.add(view)
  }

  /** A link to a peer is being made. */
  connect(peer: string, nowMs: number): void {
    const view = present(this.#known.get(peer), 'a peer that is linked is known, and has no link', { peer })
    this.#known.delete(peer)
    this.#order.delete(view)
    this.#linked.set(peer, view)
    this.#move(view, 'connecting')
    view.heardAtMs = nowMs
  }

  /** It is there. */
  open(peer: string, nowMs: number): void {
    const view = present(this.#linked.get(peer), 'a link that opens was being made', { peer })
    invariant(view.phase === 'connecting', 'a link opens once', { peer, phase: view.phase })
    this.#move(view, 'queued')
    view.heardAtMs = nowMs
  }

  /** Notes a message of a peer; undefined when the peer has no link. */
  hear(peer: string, nowMs: number): PeerView | undefined {
    const view = this.#linked.get(peer)
    if (view !== undefined) view.heardAtMs = nowMs
    return view
  }

  /** A peer with a link says how far it is. */
  advance(view: PeerView, phase: ReachedPhase, detail: string | undefined): void {
    this.#move(view, phase)
    view.detail = detail
    if (phase === 'ready') view.refusal = undefined
  }

  lose(peer: string, reason: string, nowMs: number, random: Random): void {
    this.refuse(peer, { code: UNREACHABLE, words: reason }, nowMs, random)
  }

  /** Unlinks a peer, not to be tried again before a wait that doubles with each failure. */
  refuse(peer: string, refusal: Refusal, nowMs: number, random: Random): void {
    const view = present(this.#linked.get(peer), 'a peer that is unlinked has a link', { peer })
    this.#linked.delete(peer)
    this.#move(view, 'known')
    view.detail = undefined
    view.credit = 0
    view.failuresInRow = 0
    view.refusal = refusal
    view.failures += 1
    const { retryMs, retryMsMax } = this.#options
    view.retryAtMs = nowMs + withJitter(backoffMs(retryMs, retryMsMax, view.failures), random)
    this.#retryAtMs = Math.min(this.#retryAtMs, view.retryAtMs)
    this.#keep(view)
  }

  /** Notes a result of a peer, which clears its earlier failures. */
  forgive(view: PeerView): void {
    const isKnown = view.phase === 'known' && view.failures > 0
    if (isKnown) this.#order.delete(view)
    view.failuresInRow = 0
    view.failures = 0
    if (isKnown) this.#order.add(view)
  }

  /**
   * Whom to link now: those that are ready soonest first, of equal ones the fastest. A peer that would be
   * ready too late to answer one request (`requestMs`) before the rest of the job is done (`projectedMs`) is
   * left alone. Among those that are alike the lot decides, so that several submitters do not all choose
   * the same.
   */
  recruits(nowMs: number, projectedMs: number, requestMs: number): string[] {
    const room = this.#options.peersMax - this.#linked.size
    if (room <= 0 || this.#known.size === 0) return []
    if (this.#isUsualOld) this.#order.suppose(usualFacts(this.all(), this.#options))
    this.#isUsualOld = false
    const mayFetch = this.#holders > 0
    const chosen = this.#order.choose({ nowMs, projectedMs, requestMs, mayFetch, room })
    this.#retryAtMs = this.#order.retryAtMs
    return chosen.map(({ peer }) => peer)
  }

  /** The peer that can soonest give a second opinion, even if it would not pay back: it needs the files already. */
  recruitJudge(nowMs: number): string[] {
    if (!this.hasRoom) return []
    const wish = { nowMs, projectedMs: Infinity, requestMs: 0, mayFetch: this.#holders > 0, room: 1 }
    const chosen = this.#order.choose(wish).filter(({ tier }) => tier !== 'absent')
    this.#retryAtMs = this.#order.retryAtMs
    return chosen.map(({ peer }) => peer)
  }

  /** Peers that may judge: those with a link, and those that have the files and were not tried in vain. */
  *judges(): Iterable<PeerView> {
    yield* this.#linked.values()
    for (const view of this.#known.values())
      if (view.accepts && view.tier !== 'absent' && view.refusal === undefined) yield view
  }

  /** Whether each peer that has the context, or is at it, says that it can never run it; false without any. */
  get neverRuns(): boolean {
    let holders = 0
    for (const view of this.all()) {
      if (view.tier === 'absent' && view.phase === 'known') continue
      if (view.refusal === undefined || !NEVER_RUNS.has(view.refusal.code)) return false
      holders += 1
    }
    return holders > 0
  }

  /** Why nothing can run; undefined while a peer is ready or is preparing. */
  explain(): Refusal | undefined {
    if (this.isReached && !this.neverRuns) return undefined
    const views = this.all()
    if (views.length === 0) return { code: 'no-peers', words: 'no other peer of the swarm is connected' }
    const holders = views.filter((view) => view.tier !== 'absent')
    if (holders.length === 0)
      return { code: 'context-unknown', words: `none of ${views.length} peers has the context` }
    const reasons = countBy(holders.map((view) => view.refusal?.words ?? 'not reached yet'))
    const words = [...reasons].map(([reason, count]) => `${count}: ${reason}`).join('; ')
    return {
      code: holders[0]?.refusal?.code ?? 'connecting',
      words: `${holders.length} peers have the context, but none can run it (${words})`,
    }
  }

  /** Why nothing got on although peers are linked. */
  explainStall(silentMs: number): Refusal {
    const words = [...this.#linked.values()].map(
      ({ phase, refusal, outstanding }) =>
        refusal?.words ?? (outstanding.size > 0 ? 'it does not answer' : phase),
    )
    const reasons = [...countBy(words)].map(([reason, count]) => `${count}: ${reason}`).join('; ')
    const seconds = Math.round(silentMs / 1_000)
    return {
      code: 'no-progress',
      words: `${this.#reached} peers are connected, but no result came for ${seconds} s (${reasons})`,
    }
  }

  #move(view: PeerView, phase: PeerPhase): void {
    const { peer, phase: before } = view
    invariant(MOVES[before].includes(phase), 'a peer goes from one phase to the next', {
      peer,
      before,
      phase,
    })
    this.#reached += Number(isReached(phase)) - Number(isReached(before))
    view.phase = phase
  }

  /** Throws `internal` unless what is counted and kept in order is what is there. */
  check(): void {
    const { peersMax } = this.#options
    const linked = [...this.#linked.values()]
    const reached = linked.filter(({ phase }) => isReached(phase)).length
    const holders = this.all().filter(({ tier }) => tier !== 'absent').length
    for (const [peer, view] of [...this.#linked, ...this.#known]) {
      invariant(view.peer === peer, 'a peer is filed under its name', { peer, filed: view.peer })
    }
    for (const { peer, phase } of linked) {
      invariant(phase !== 'known' && !this.#known.has(peer), 'a peer is linked or not', { peer, phase })
    }
    for (const { peer, phase } of this.#known.values()) {
      invariant(phase === 'known', 'a peer without a link is only known', { peer, phase })
    }
    invariant(linked.length <= peersMax, 'no more peers are linked than may be', { linked: linked.length })
    invariant(reached === this.#reached, 'peers that are reached are counted', { reached })
    invariant(holders === this.#holders, 'holders are counted', { holders, counted: this.#holders })
    invariant(this.#known.size <= CANDIDATES_KNOWN_MAX, 'no more peers are known than may be')
    this.#order.check(this.#known.values())
  }

  /** Keeps a peer without a link, instead of the one that was kept longest where there are too many. */
  #keep(view: PeerView): void {
    this.#known.set(view.peer, view)
    this.#order.add(view)
    if (this.#known.size <= CANDIDATES_KNOWN_MAX) return
    const oldest = this.#known.values().next().value as PeerView
    this.#known.delete(oldest.peer)
    this.#order.delete(oldest)
    if (oldest.tier !== 'absent') this.#holders -= 1
    if (saysSomething(oldest)) this.#isUsualOld = true
  }

  #add(peer: string, random: Random): PeerView {
    const view: PeerView = {
      peer,
      tier: 'absent',
      accepts: true,
      // So that all views have one shape.
      ...SAYS_NOTHING,
      phase: 'known',
      detail: undefined,
      refusal: undefined,
      credit: 0,
      outstanding: new SmallMap(),
      rate: new WorkRate(REQUEST_RATE),
      tookMs: 0,
      progressAtMs: 0,
      heardAtMs: 0,
      failures: 0,
      failuresInRow: 0,
      doubted: 0,
      contradicted: 0,
      retryAtMs: 0,
      resultCount: 0,
      lot: random.next(),
    }
    this.#keep(view)
    return view
  }
}

function isReached(phase: PeerPhase): boolean {
  return phase !== 'known' && phase !== 'connecting'
}

function countBy(words: string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}
