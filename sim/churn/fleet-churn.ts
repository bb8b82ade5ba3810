import type { Random } from '../../src/base/random.ts'
import { arrivalTimes } from './arrivals.ts'
import type { ChurnEvent, ChurnSource, DownCause } from './churn-events.ts'
import type { BulkPreemption, ChurnModel, Streams } from './churn-model.ts'
import { exponential, sample } from './distribution.ts'
import { Group } from './group.ts'
import { Pending } from './pending.ts'
import { HOUR_MS } from './rhythm.ts'
import { SessionProcess } from './session-process.ts'

interface PeerState {
  process: SessionProcess
  /** Counts what has been decided for it: what was decided earlier and is still pending is void. */
  decision: number
  isDiskKept: boolean
}

type Step =
  | { kind: 'up' | 'thaw' | 'freeze'; peer: number; decision: number }
  | { kind: 'notice'; peer: number; decision: number; downAtMs: number }
  | { kind: 'down'; peer: number; decision: number; cause: DownCause; isForEver: boolean }
  | { kind: 'arrive' }
  | { kind: 'bulk'; group: number }

/**
 * The churn of a whole fleet under a model. Every peer and group draws from a stream of its own, so
 * that two policies, or fleets of two sizes, see the same lives.
 */
export class FleetChurn implements ChurnSource {
  readonly #model: ChurnModel
  readonly #streams: Streams
  readonly #peers: PeerState[] = []
  readonly #groups: Group[]
  readonly #bulkRandoms: Random[]
  readonly #arrivals: Iterator<number, void>
  readonly #pending = new Pending<Step>()
  /** Events of one moment that are still to be handed out, from `#handedOut` on. */
  #ready: ChurnEvent[] = []
  #handedOut = 0

  /** `peers` are there from the start, up or not; those who arrive later are numbered after them. */
  constructor(model: ChurnModel, peers: number, streams: Streams) {
    this.#model = model
    this.#streams = streams
    const groups = model.bulk?.groups ?? 0
    this.#groups = Array.from({ length: groups }, () => new Group())
    this.#bulkRandoms = Array.from({ length: groups }, (_, group) => streams(group, 'bulk'))
    this.#arrivals = arrivalTimes(model.arrivals ?? { kind: 'at', timesMs: [] }, streams(0, 'arrivals'))
    for (let peer = 0; peer < peers; peer += 1) this.#start(peer)
    for (let group = 0; group < groups; group += 1) this.#scheduleBulk(group, 0)
    this.#scheduleArrival()
  }

  next(): ChurnEvent | undefined {
    for (;;) {
      const ready = this.#ready[this.#handedOut]
      if (ready !== undefined) {
        this.#handedOut += 1
        return ready
      }
      this.#ready = []
      this.#handedOut = 0
      const taken = this.#pending.take()
      if (taken === undefined) return undefined
      this.#play(taken.atMs, taken.item)
    }
  }

  #play(atMs: number, step: Step): void {
    if (step.kind === 'arrive') return this.#arrive(atMs)
    if (step.kind === 'bulk') return this.#preempt(atMs, step.group)
    const state = this.#peers[step.peer]
    if (state === undefined || state.decision !== step.decision) return
    const { peer } = step
    switch (step.kind) {
      case 'up':
        this.#emit({ kind: 'up', atMs, peer, isDiskKept: state.isDiskKept })
        return this.#live(peer, state, atMs)
      case 'thaw':
        this.#emit({ kind: 'thaw', atMs, peer })
        return this.#live(peer, state, atMs)
      case 'notice':
        return this.#emit({ kind: 'notice', atMs, peer, downAtMs: step.downAtMs })
      case 'freeze':
        this.#groupOf(peer)?.remove(peer)
        this.#emit({ kind: 'freeze', atMs, peer })
        return this.#schedule(state.process.returnAfter(atMs), { ...step, kind: 'thaw' })
      case 'down':
        return this.#goDown(atMs, step, state)
    }
  }

  #start(peer: number): void {
    const state = this.#add(peer)
    const { isUp, untilMs } = state.process.atStart()
    if (!isUp) return this.#schedule(untilMs, { kind: 'up', peer, decision: 0 })
    this.#emit({ kind: 'up', atMs: 0, peer, isDiskKept: false })
    this.#live(peer, state, 0, untilMs)
  }

  #add(peer: number): PeerState {
    const process = new SessionProcess(this.#model.sessions, this.#streams(peer, 'sessions'))
    const state = { process, decision: 0, isDiskKept: false }
    this.#peers[peer] = state
    return state
  }

  #arrive(atMs: number): void {
    const peer = this.#peers.length
    const state = this.#add(peer)
    this.#emit({ kind: 'up', atMs, peer, isDiskKept: false })
    this.#live(peer, state, atMs)
    this.#scheduleArrival()
  }

  /** Decides how the session ends that begins now. */
  #live(peer: number, state: PeerState, atMs: number, untilMs?: number): void {
    this.#groupOf(peer)?.add(peer)
    const end = state.process.sessionEnd(atMs, untilMs)
    state.decision += 1
    state.isDiskKept = end.isDiskKept
    const { decision } = state
    if (end.kind === 'freeze') return this.#schedule(end.atMs, { kind: 'freeze', peer, decision })
    const downAtMs = Math.round(end.atMs)
    if (end.noticeAtMs !== undefined)
      this.#schedule(end.noticeAtMs, { kind: 'notice', peer, decision, downAtMs })
    this.#schedule(downAtMs, { kind: 'down', peer, decision, cause: 'owner', isForEver: end.isForEver })
  }

  #goDown(atMs: number, step: Step & { kind: 'down' }, state: PeerState): void {
    const { peer, cause, isForEver } = step
    this.#groupOf(peer)?.remove(peer)
    this.#emit({ kind: 'down', atMs, peer, cause, isForEver })
    if (isForEver) return
    const { bulk } = this.#model
    const refillMs =
      cause === 'preempted' && bulk !== undefined
        ? atMs + sample(bulk.refill, this.#streamOfGroup(peer, bulk))
        : state.process.returnAfter(atMs)
    this.#schedule(refillMs, { kind: 'up', peer, decision: step.decision })
  }

  /** Takes several peers of a group at once; what they had been going to do is void. */
  #preempt(atMs: number, group: number): void {
    const { bulk } = this.#model
    const random = this.#bulkRandoms[group]
    const members = this.#groups[group]
    if (bulk === undefined || random === undefined || members === undefined) return
    const wanted = Math.max(1, Math.round(sample(bulk.size, random)))
    for (const peer of members.take(wanted, bulk.victims, random)) {
      const state = this.#peers[peer]
      if (state === undefined) continue
      state.decision += 1
      const downAtMs = atMs + bulk.noticeMs
      if (bulk.noticeMs > 0) this.#emit({ kind: 'notice', atMs, peer, downAtMs })
      const { decision } = state
      this.#schedule(downAtMs, { kind: 'down', peer, decision, cause: 'preempted', isForEver: false })
    }
    this.#scheduleBulk(group, atMs)
  }

  #scheduleBulk(group: number, fromMs: number): void {
    const { bulk } = this.#model
    const random = this.#bulkRandoms[group]
    if (bulk === undefined || random === undefined || bulk.perHour <= 0) return
    this.#schedule(fromMs + (exponential(random) * HOUR_MS) / bulk.perHour, { kind: 'bulk', group })
  }

  #scheduleArrival(): void {
    const arrival = this.#arrivals.next()
    if (arrival.done !== true) this.#schedule(arrival.value, { kind: 'arrive' })
  }

  #groupOf(peer: number): Group | undefined {
    return this.#groups[peer % Math.max(1, this.#groups.length)]
  }

  #streamOfGroup(peer: number, { groups }: BulkPreemption): Random {
    return this.#bulkRandoms[peer % groups] ?? this.#streams(peer % groups, 'bulk')
  }

  #schedule(atMs: number, step: Step): void {
    this.#pending.add(Math.round(atMs), step)
  }

  #emit(event: ChurnEvent): void {
    this.#ready.push(event)
  }
}
