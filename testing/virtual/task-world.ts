import { seededRandom, type Random } from '../../src/base/random.ts'
import { step } from '../../src/tasks/submitter/core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
  type CoordinatorState,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorOptions,
} from '../../src/tasks/submitter/core/coordinator-state.ts'
import { nextTickMs } from '../../src/tasks/submitter/core/pace.ts'
import type { LeaseKey, TaskResult } from '../../src/tasks/wire/task-messages.ts'
import { stepWorker } from '../../src/tasks/worker/core/worker.ts'
import {
  createWorker,
  type EvaluationMode,
  type WorkerState,
  type WorkerEffect,
  type WorkerEvent,
} from '../../src/tasks/worker/core/worker-state.ts'

export interface WorldOptions {
  seed: number
  requests: number
  peers: number
  slots: number
  /** Chance per virtual second that something dies: a peer, or the submitter. */
  killsPerSecond: number
  submitterKillsPerSecond: number
  /** Chance per virtual second that a peer leaves in peace, and comes back. Default 0. */
  drainsPerSecond?: number
  /** Chance per virtual second that a link breaks while both its ends live. */
  breaksPerSecond: number
  /** Chance that a message of a live stream arrives twice. */
  duplicateShare: number
  /** Chance that a message is late, by up to 3 s; those after it overtake it. Default 0. */
  lateShare?: number
  /** Chance per virtual second that the submitter's clock leaps by up to a minute, as after a suspend. Default 0. */
  leapsPerSecond?: number
  /** Requests that make every peer fail, and requests that are an error of their own. */
  poison?: ReadonlySet<number>
  bad?: ReadonlySet<number>
  /** Peers that give an error for every request. */
  liars?: ReadonlySet<string>
  coordinator?: Partial<CoordinatorOptions>
  evaluate?: EvaluationMode
  /** Ticks every 100 ms, and not only when one is due. Default false. */
  ticksAlways?: boolean
}

interface Peer {
  name: string
  worker: WorkerState
  alive: boolean
  incarnation: number
  rateMs: number
}

/**
 * A submitter's core, several workers' cores and a faulty network on virtual time: what the
 * simulator will be, in the size of a test. The journal is a map with the same fence as the real one.
 */
export class World {
  readonly options: WorldOptions
  readonly random: Random
  readonly epochs: Map<number, number> = new Map()
  /** Who was sent each request under its epoch. */
  readonly #holders = new Map<number, Set<string>>()
  readonly results: Map<number, { key: LeaseKey; outcome: string; peer: string }> = new Map()
  readonly commitsTried: LeaseKey[] = []
  doubleCommits = 0
  /** The effects of ticks that were not due. */
  readonly needlessEffects: CoordinatorEffect[] = []
  executions = 0
  prepares = 0
  discards = 0
  finished = false
  gaveUp: string | undefined
  nowMs = 0
  /** The longest that a request was leased to nobody who lived, ms. */
  stuckMs = 0
  #leapMs = 0
  /** Since when each leased request has nobody who lives. */
  #deserted = new Map<number, number>()
  #queue: { atMs: number; order: number; run: () => void }[] = []
  #order = 0
  #peers: Peer[] = []
  #coordinator!: CoordinatorState
  #incarnation = 0
  #links = new Map<string, string>()
  #nextSession = 1

  constructor(options: WorldOptions) {
    this.options = options
    this.random = seededRandom(options.seed)
    for (let index = 0; index < options.peers; index += 1) this.#peers.push(this.#makePeer(index))
    this.#startSubmitter()
    this.#every(100, () => this.#tick())
    this.#every(250, () => this.#misfortune())
    this.#every(100, () => this.#lookForStuck())
    this.#every(1000, () => {
      for (const peer of this.#peers) if (peer.alive) this.#toWorker(peer, { kind: 'tick' })
    })
  }

  /** Runs until the job ends or `untilMs` of virtual time have passed. */
  run(untilMs: number): void {
    while (!this.finished && this.gaveUp === undefined && this.nowMs < untilMs) {
      const next = this.#queue.shift()
      if (next === undefined) return
      this.nowMs = next.atMs
      next.run()
    }
  }

  get coordinator(): CoordinatorState {
    return this.#coordinator
  }

  #makePeer(index: number): Peer {
    return {
      name: `peer-${index}`,
      worker: this.#newWorker(),
      alive: true,
      incarnation: 0,
      rateMs: 20 * 2 ** (index % 3),
    }
  }

  #newWorker(): WorkerState {
    return createWorker({
      sessionsMax: 8,
      requestsPerSlot: 2,
      lookAheadMs: 250,
      handOverMs: 25,
      windowMax: 2048,
      evaluate: this.options.evaluate ?? 'pervasive',
      undeliveredBytesMax: 1 << 20,
      submitterUndeliveredBytesMax: 1 << 20,
      submitterUndeliveredMax: 1_000,
      undeliveredAgeMsMax: 60_000,
    })
  }

  #startSubmitter(): void {
    this.#incarnation += 1
    const ranges = []
    for (let n = 0; n < this.options.requests; n += 1)
      if (!this.results.has(n)) ranges.push({ from: n, to: n + 1 })
    const leases = [...this.epochs]
      .filter(([n]) => !this.results.has(n))
      .map(([n, epoch]) => ({ n, epoch, holders: [...(this.#holders.get(n) ?? [])] }))
    const options = { ...COORDINATOR_DEFAULTS, ...this.options.coordinator }
    this.#coordinator = createCoordinator({ ranges, leases }, options)
    this.#toCoordinator({ kind: 'start' })
  }

  /** As a submitter's shell does: a tick that is not due is left out. With `ticksAlways` it must do nothing. */
  #tick(): void {
    const nowMs = this.nowMs + this.#leapMs
    if (nowMs >= nextTickMs(this.#coordinator)) return this.#toCoordinator({ kind: 'tick' })
    if (this.options.ticksAlways !== true || this.finished) return
    this.needlessEffects.push(...step(this.#coordinator, { kind: 'tick' }, nowMs, this.random))
  }

  #toCoordinator(event: CoordinatorEvent, incarnation = this.#incarnation): void {
    if (incarnation !== this.#incarnation || this.finished) return
    const nowMs = this.nowMs + this.#leapMs
    for (const effect of step(this.#coordinator, event, nowMs, this.random)) this.#perform(effect)
  }

  #perform(effect: CoordinatorEffect): void {
    const incarnation = this.#incarnation
    switch (effect.kind) {
      case 'find':
        this.#later(5, () => {
          const candidates = this.#peers
            .filter((peer) => peer.alive)
            .map(({ name }) => ({ peer: name, tier: 'stored' as const, accepts: true }))
          this.#toCoordinator({ kind: 'candidates', candidates }, incarnation)
        })
        break
      case 'open':
        this.#open(effect.peer)
        break
      case 'close':
        this.#dropLink(effect.peer)
        break
      case 'lease':
        this.#overLink(effect.peer, (session) => ({ kind: 'lease', session, requests: effect.requests }))
        break
      case 'send':
        for (const key of effect.leases) this.#lease(effect.peer, key)
        this.#overLink(effect.peer, (session) => ({
          kind: 'requests',
          session,
          requests: effect.leases.map((key) => ({ ...key, url: '/v1/completions', body: '{}' })),
        }))
        break
      case 'commit':
        this.#later(3, () =>
          this.#commit(effect.key, effect.peer, this.#outcomeOf(effect.peer, effect.key.n), incarnation),
        )
        break
      case 'doubt':
        break
      case 'accept':
        this.#later(3, () => this.#commit(effect.key, effect.peer, 'unconfirmed', incarnation))
        break
      case 'fail':
        this.#later(3, () => this.#commit(effect.key, undefined, 'failed', incarnation))
        break
      case 'acknowledge':
        this.#overLink(effect.peer, (session) => ({ kind: 'acknowledged', session, keys: effect.keys }))
        break
      case 'cancel':
        this.#overLink(effect.peer, (session) => ({ kind: 'cancelled', session, keys: effect.keys }))
        break
      case 'give-up':
        this.gaveUp = effect.reason.code
        break
      case 'finish':
        this.finished = true
        break
    }
  }

  #lease(peer: string, { n, epoch }: LeaseKey): void {
    if (this.epochs.get(n) !== epoch) this.#holders.set(n, new Set())
    this.epochs.set(n, epoch)
    this.#holders.get(n)?.add(peer)
  }

  #outcomeOf(name: string, n: number): 'ok' | 'bad-request' | 'retry' {
    const { poison, bad, liars } = this.options
    if (poison?.has(n) === true) return 'retry'
    return bad?.has(n) === true || liars?.has(name) === true ? 'bad-request' : 'ok'
  }

  #commit(key: LeaseKey, peer: string | undefined, outcome: string, incarnation: number): void {
    if (incarnation !== this.#incarnation) return
    this.commitsTried.push(key)
    if (this.epochs.get(key.n) === key.epoch) {
      if (this.results.has(key.n)) this.doubleCommits += 1
      else this.results.set(key.n, { key, outcome, peer: peer ?? '' })
    }
    this.#toCoordinator({ kind: 'committed', peer, key }, incarnation)
  }

  #open(name: string): void {
    const incarnation = this.#incarnation
    this.#later(10, () => {
      const peer = this.#peer(name)
      if (incarnation !== this.#incarnation) return
      if (!peer.alive) {
        this.#toCoordinator({ kind: 'lost', peer: name, reason: 'refused' }, incarnation)
        return
      }
      const session = `session-${this.#nextSession++}`
      this.#links.set(name, session)
      this.#toCoordinator({ kind: 'opened', peer: name }, incarnation)
      this.#toWorker(peer, {
        kind: 'opened',
        session,
        submitter: 'submitter',
        job: 'job',
        contextId: 'context',
        leaseSize: this.options.coordinator?.leaseSize,
      })
    })
  }

  #overLink(name: string, event: (session: string) => WorkerEvent): void {
    const session = this.#links.get(name)
    if (session === undefined) return
    const peer = this.#peer(name)
    const { incarnation } = peer
    this.#later(2 + this.#lateMs(), () => {
      if (peer.alive && peer.incarnation === incarnation && this.#links.get(name) === session) {
        this.#toWorker(peer, event(session))
      }
    })
  }

  #toWorker(peer: Peer, event: WorkerEvent): void {
    for (const effect of stepWorker(peer.worker, event, this.nowMs)) this.#performWorker(peer, effect)
  }

  #performWorker(peer: Peer, effect: WorkerEffect): void {
    const { incarnation } = peer
    const ifAlive = (run: () => void) => (): void => {
      if (peer.alive && peer.incarnation === incarnation) run()
    }
    switch (effect.kind) {
      case 'status':
        this.#reply(peer, effect.session, {
          kind: 'status',
          peer: peer.name,
          phase: effect.phase,
          reason: effect.reason,
        })
        break
      case 'credit':
        this.#reply(
          peer,
          effect.session,
          { kind: 'credit', peer: peer.name, requests: effect.requests },
          false,
        )
        break
      case 'deliver':
        for (const result of effect.results) this.#replyResult(peer, effect.session, result)
        break
      case 'return':
        this.#reply(peer, effect.session, { kind: 'returned', peer: peer.name, keys: effect.keys })
        break
      case 'end':
        if (this.#links.get(peer.name) === effect.session) this.#dropLink(peer.name)
        break
      case 'discard':
        this.discards += 1
        this.#later(
          10,
          ifAlive(() => this.#toWorker(peer, { kind: 'discarded', contextId: effect.contextId })),
        )
        break
      case 'prepare':
        this.prepares += 1
        this.#later(
          50,
          ifAlive(() =>
            this.#toWorker(peer, {
              kind: 'prepared',
              contextId: effect.contextId,
              slots: this.options.slots,
            }),
          ),
        )
        break
      case 'run':
        this.executions += 1
        this.#later(
          peer.rateMs * (1 + this.random.next()),
          ifAlive(() =>
            this.#toWorker(peer, {
              kind: 'done',
              run: effect.run,
              result: this.#resultOf(peer, effect.request.n),
            }),
          ),
        )
        break
      case 'stop-run':
        break
    }
  }

  #resultOf({ name }: Peer, n: number): Omit<TaskResult, 'n' | 'epoch'> {
    const outcome = this.#outcomeOf(name, n)
    return { outcome, statusCode: 200, body: '{}', promptTokens: 1, completionTokens: 1 }
  }

  #replyResult(peer: Peer, session: string, result: TaskResult): void {
    const key = { n: result.n, epoch: result.epoch }
    this.#reply(peer, session, { kind: 'result', peer: peer.name, key, outcome: result.outcome })
  }

  #reply(peer: Peer, session: string, event: CoordinatorEvent, mayRepeat = true): void {
    const incarnation = this.#incarnation
    const times = mayRepeat && this.random.next() < this.options.duplicateShare ? 2 : 1
    for (let time = 0; time < times; time += 1) {
      this.#later(2 + this.random.next() * 3 + this.#lateMs(), () => {
        if (this.#links.get(peer.name) === session) this.#toCoordinator(event, incarnation)
      })
    }
  }

  #dropLink(name: string): void {
    const session = this.#links.get(name)
    if (session === undefined) return
    this.#links.delete(name)
    const peer = this.#peer(name)
    if (peer.alive) this.#toWorker(peer, { kind: 'lost', session })
    const incarnation = this.#incarnation
    this.#later(1, () => this.#toCoordinator({ kind: 'lost', peer: name, reason: 'closed' }, incarnation))
  }

  #misfortune(): void {
    const { killsPerSecond, submitterKillsPerSecond, breaksPerSecond, leapsPerSecond = 0 } = this.options
    const victim = this.#peers[Math.floor(this.random.next() * this.#peers.length)]
    if (victim !== undefined && this.random.next() < killsPerSecond / 4) this.#kill(victim)
    const { drainsPerSecond = 0 } = this.options
    if (victim !== undefined && this.random.next() < drainsPerSecond / 4) this.#drain(victim)
    const cut = this.#peers[Math.floor(this.random.next() * this.#peers.length)]
    if (cut !== undefined && this.random.next() < breaksPerSecond / 4) this.#dropLink(cut.name)
    if (this.random.next() < submitterKillsPerSecond / 4) this.#killSubmitter()
    if (this.random.next() < leapsPerSecond / 4) this.#leapMs += this.random.next() * 60_000
  }

  #lateMs(): number {
    const { lateShare = 0 } = this.options
    return lateShare > 0 && this.random.next() < lateShare ? this.random.next() * 3_000 : 0
  }

  /** Whom a request is leased to must be alive, or be found out. */
  #lookForStuck(): void {
    for (const [n, { peers, isCommitting }] of this.#coordinator.leases) {
      const isHeld = isCommitting || [...peers].some((peer) => this.#links.has(peer))
      if (isHeld) this.#deserted.delete(n)
      else if (!this.#deserted.has(n)) this.#deserted.set(n, this.nowMs)
    }
    for (const [n, sinceMs] of this.#deserted) {
      if (!this.#coordinator.leases.has(n)) this.#deserted.delete(n)
      else this.stuckMs = Math.max(this.stuckMs, this.nowMs - sinceMs)
    }
  }

  /** Waiting requests go back at once; running ones have half a second. Then the peer is away for a while. */
  #drain(peer: Peer): void {
    if (!peer.alive) return
    const { incarnation } = peer
    this.#toWorker(peer, { kind: 'drain' })
    this.#later(500, () => {
      if (!peer.alive || peer.incarnation !== incarnation) return
      this.#toWorker(peer, { kind: 'drain-over' })
      this.#later(10, () => this.#kill(peer))
    })
  }

  #kill(peer: Peer): void {
    if (!peer.alive) return
    peer.alive = false
    peer.incarnation += 1
    const isFrozen = this.random.next() < 0.3
    if (isFrozen) this.#links.delete(peer.name)
    else this.#dropLink(peer.name)
    this.#later(500 + this.random.next() * 2000, () => {
      peer.alive = true
      peer.worker = this.#newWorker()
    })
  }

  #killSubmitter(): void {
    for (const [name, session] of this.#links) {
      const peer = this.#peer(name)
      if (peer.alive) this.#toWorker(peer, { kind: 'lost', session })
    }
    this.#links.clear()
    this.#startSubmitter()
  }

  #peer(name: string): Peer {
    return this.#peers.find((peer) => peer.name === name) as Peer
  }

  #every(periodMs: number, run: () => void): void {
    this.#later(periodMs, () => {
      run()
      this.#every(periodMs, run)
    })
  }

  #later(delayMs: number, run: () => void): void {
    const entry = { atMs: this.nowMs + delayMs, order: this.#order++, run }
    let low = 0
    let high = this.#queue.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#queue[middle] as typeof entry
      if (other.atMs < entry.atMs || (other.atMs === entry.atMs && other.order < entry.order))
        low = middle + 1
      else high = middle
    }
    this.#queue.splice(low, 0, entry)
  }
}
