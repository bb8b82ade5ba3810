import type { CoordinatorEvent } from '../../src/tasks/coordinator-state-core.ts'
import { stepWorker } from '../../src/tasks/worker-core.ts'
import {
  createWorker,
  type Worker,
  type WorkerEffect,
  type WorkerEvent,
} from '../../src/tasks/worker-state-core.ts'
import type { Random } from '../../src/base/random.ts'
import type { TaskResult } from '../../src/tasks/task-messages.ts'
import type { PeerDevice } from './device.ts'
import { loadSeconds } from './device.ts'
import { Gpu, type GpuOwner } from './gpu.ts'
import { GpuMeter } from './gpu-meter.ts'
import type { Host } from './host.ts'
import { Larder, type LarderOwner } from './larder.ts'
import { Presence } from './presence.ts'
import { ReplicaKeeper } from './replica-keeper.ts'
import type { RunFacts } from './run-facts.ts'
import { TAG } from './tags.ts'
import type { TaskLink } from './task-link.ts'
import { Timers } from './timers.ts'
import type { PeerState, Swarm } from './swarm.ts'

const LEDGER_TICK_US = 60_000_000
/** As tasks/worker.ts: a submitter of which nothing was heard for so long is taken as gone. */
const SUBMITTER_SILENCE_US = 15_000_000
/** A peer that leaves gives back what still runs so long before it is gone. */
const LAST_WORDS_US = 500_000

type RunResult = Extract<WorkerEvent, { kind: 'done' }>['result']

/** One serving peer: worker-core on a simulated GPU, disk and line. */
export class Peer implements GpuOwner, LarderOwner {
  readonly number: number
  readonly group: string
  readonly host: Host
  readonly device: PeerDevice
  readonly meter: GpuMeter
  readonly larder: Larder
  /** Undefined where no copies are kept. */
  readonly keeper: ReplicaKeeper | undefined
  readonly #world: Swarm
  readonly #timers: Timers
  readonly #presence: Presence
  readonly #links = new Map<string, TaskLink>()
  /** When the lease of a session began, where there are leases. */
  #leases: Map<string, number> | undefined
  /** These are made when something first comes of them: most peers of a large swarm wait. */
  #worker: Worker | undefined
  #gpu: Gpu | undefined
  #inbox: [TaskLink, WorkerEvent][] = []
  #loadsDrawn = 0
  #isTicking = false
  /** Times that results were sent. */
  #delivered = 0
  #frozenMs = 0
  state: PeerState = 'down'
  /** Whether it has found the others since it came up. */
  hasJoined = false
  /** Whether it was told that it will be taken away. */
  isLeaving = false
  sessions = 0
  inferences = 0
  firstUpUs: number | undefined
  firstResultUs: number | undefined
  loads = 0

  constructor(world: Swarm, number: number, group: string, device: PeerDevice, host: Host) {
    this.#world = world
    this.number = number
    this.group = group
    this.device = device
    this.host = host
    this.meter = new GpuMeter(device.slots)
    this.#timers = new Timers(world.kernel, TAG.timer + number)
    this.larder = new Larder(world, this, this.#timers, device.diskBytes)
    this.#presence = new Presence(world.directory, this, world.scenario.contexts.count)
    this.keeper =
      world.adverts === undefined ? undefined : new ReplicaKeeper(world, world.adverts, this, this.#timers)
  }

  get id(): string {
    return this.host.id
  }

  get tag(): number {
    return this.host.tag
  }

  /** It joins, or comes back, with what is on its disk, which may say whom it knew before. */
  up(knowsOthers: boolean): void {
    const { nowUs } = this.#world.kernel
    this.state = 'up'
    this.sessions += 1
    this.firstUpUs ??= nowUs
    this.host.isReachable = true
    this.meter.up(nowUs)
    this.hasJoined = false
    this.isLeaving = false
    this.larder.count(true)
    const random = (): Random => this.#world.streams.of(this.id, 'join', this.sessions)
    this.#world.bootstrap.join(knowsOthers, this.#timers, random, () => this.#join())
  }

  #join(): void {
    this.hasJoined = true
    if (this.isFindable) this.#presence.sayThere()
    this.#world.announce(this)
    this.keeper?.start()
  }

  /** Whether others find it in the DHT. */
  get isFindable(): boolean {
    return this.hasJoined && this.host.side === 0
  }

  /** It is killed: all that it did is lost, its disk is kept or not. */
  down(keepsDisk: boolean): void {
    const { nowUs } = this.#world.kernel
    if (this.state === 'down') return
    const isSilent = this.#world.scenario.losses === 'silent'
    if (this.state === 'frozen') this.#timers.thaw()
    else {
      this.larder.count(false)
      if (this.hasJoined) this.keeper?.stop(isSilent)
    }
    this.state = 'down'
    this.host.isReachable = false
    this.#gpu?.clear()
    this.larder.lose(keepsDisk)
    this.meter.down(nowUs)
    this.#timers.clear()
    this.loads += this.#gpu?.loads ?? 0
    this.#worker = undefined
    this.#gpu = undefined
    this.#isTicking = false
    this.#leases = undefined
    this.#inbox = []
    this.#presence.sayGone()
    for (const link of this.#links.values()) this.#world.breakLink(link, isSilent || link.isCut)
    this.#links.clear()
  }

  /** It is told that it will be taken away: what has not begun goes back, what runs may end in time. */
  notice(leftUs: number): void {
    if (this.state !== 'up') return
    this.isLeaving = true
    this.#world.announce(this)
    this.dispatch({ kind: 'drain' })
    this.keeper?.drain()
    this.#timers.after(Math.max(0, leftUs - LAST_WORDS_US), () => this.dispatch({ kind: 'drain-over' }))
  }

  freeze(): void {
    if (this.state !== 'up') return
    this.larder.count(false)
    this.state = 'frozen'
    this.#frozenMs = this.#world.kernel.nowMs
    this.host.isReachable = false
    this.keeper?.stop(true)
    this.#timers.freeze()
    this.larder.pause()
    for (const link of this.#links.values()) this.#world.breakLink(link, true)
  }

  thaw(): void {
    if (this.state !== 'frozen') return
    this.state = 'up'
    this.host.isReachable = true
    this.#timers.thaw()
    this.larder.count(true)
    if (this.hasJoined) this.keeper?.resume(this.#frozenMs)
    this.larder.resume()
    const inbox = this.#inbox
    this.#inbox = []
    for (const [link, event] of inbox) this.receive(link, event)
    for (const link of this.#links.values()) if (link.isOver) this.#loseLink(link)
  }

  /** The network is cut, so that it reaches only those of its side, or is healed: then it is on side 0. */
  moveTo(side: number): void {
    const { host } = this
    host.side = side
    for (const link of this.#links.values()) {
      if (side === 0) link.heal()
      else this.#cutLink(link)
    }
    host.usedUploads?.cutOff()
    for (const { sources } of host.fetches.values()) for (const source of sources) source.uploads.cutOff()
    if (!this.hasJoined || this.state !== 'up') return
    if (side !== 0) return this.#presence.sayGone()
    for (const link of this.#links.values()) if (link.isOver) this.#loseLink(link)
    this.#presence.sayThere()
    for (const context of this.#warmContexts()) this.#world.directory.hold(this.number, context, 'warm')
    this.#world.announce(this)
  }

  /** Each end takes the other as gone once it was silent for so long. */
  #cutLink(link: TaskLink): void {
    link.isCut = true
    this.#world.breakLink(link, true)
    this.#timers.after(SUBMITTER_SILENCE_US, () => {
      if (link.isCut) this.#loseLink(link)
    })
  }

  #warmContexts(): number[] {
    return [...this.host.shelves.keys()].filter((context) => this.#gpu?.isLoaded(context) === true)
  }

  holdsLink(link: TaskLink): boolean {
    return this.state === 'up' && !link.isCut && this.#links.get(link.session) === link
  }

  receive(link: TaskLink, event: WorkerEvent): void {
    if (this.state === 'frozen') this.#inbox.push([link, event])
    if (this.state !== 'up') return
    if (this.device.isLiar) {
      if (event.kind === 'opened') this.#world.breakLink(link, true)
      return
    }
    if (event.kind === 'opened') {
      this.#links.set(link.session, link)
      this.keeper?.sessionOpened(link.session, event.contextId)
    }
    if (event.kind === 'lost') this.#forgetLink(link.session)
    const { policy, mode, work } = this.#world.scenario
    if (policy === 'hearth' || (event.kind !== 'lease' && event.kind !== 'requests'))
      return this.dispatch(event)
    // What the paper's manager and worker need to start a task and to collect it.
    this.#timers.after(work.overheadS[mode] * 1e6, () => {
      if (event.kind === 'lease') (this.#leases ??= new Map()).set(event.session, this.#world.kernel.nowUs)
      this.dispatch(event)
    })
  }

  dispatch(event: WorkerEvent): void {
    this.#worker ??= createWorker(this.#world.workerOptions)
    for (const effect of stepWorker(this.#worker, event, this.#world.kernel.nowMs)) this.#perform(effect)
  }

  /** The run has ended: what is under way is counted. */
  settle(): void {
    this.#gpu?.clear()
    this.meter.touch(this.#world.kernel.nowUs)
  }

  drawLoadS(): number {
    const { streams, scenario } = this.#world
    const random = streams.of(this.id, 'load', this.#loadsDrawn++)
    return scenario.shell.hostStartS + loadSeconds(this.device.loadS, scenario.loads, random)
  }

  mayRun(context: number): boolean {
    return this.#gpu?.isLoaded(context) === true && this.host.shelf(context)?.isWhole === true
  }

  isWarm(context: number): boolean {
    return this.state === 'up' && this.#gpu?.isLoaded(context) === true
  }

  /** Whether it is up, with one loaded that is wanted. */
  hasWarm(isWanted: (context: number) => boolean): boolean {
    return this.state === 'up' && this.#gpu?.hasLoaded(isWanted) === true
  }

  mayDrop(context: number): { may: boolean; others: number } {
    return this.keeper?.mayDrop(context) ?? { may: false, others: 0 }
  }

  onHolding(context: number): void {
    this.keeper?.changed(context)
    this.keeper?.measureRoom()
  }

  get loadCount(): number {
    return this.loads + (this.#gpu?.loads ?? 0)
  }

  #perform(effect: WorkerEffect): void {
    const peer = this.id
    switch (effect.kind) {
      case 'status': {
        const { phase, reason, detail } = effect
        return this.#say(effect.session, { kind: 'status', peer, phase, reason, detail })
      }
      case 'credit':
        return this.#say(effect.session, { kind: 'credit', peer, requests: effect.requests })
      case 'deliver':
        return this.#deliver(effect.session, effect.results)
      case 'return':
        return this.#say(effect.session, { kind: 'returned', peer, keys: effect.keys })
      case 'end':
        this.#say(effect.session, { kind: 'lost', peer, reason: effect.reason })
        this.#forgetLink(effect.session)
        return
      case 'prepare':
        return this.#prepare(effect.contextId)
      case 'discard':
        return this.#discard(effect.contextId, effect.keepsFiles)
      case 'run':
        return this.#run(effect.run, effect.contextId, effect.request.n, effect.request.body)
      case 'stop-run':
        this.#gpu?.stop(effect.run)
    }
  }

  #say(session: string, event: CoordinatorEvent): void {
    this.#links.get(session)?.toSubmitter(event)
  }

  /** Results of a lease go together; each carries the times of the whole lease. */
  #deliver(session: string, results: readonly TaskResult[]): void {
    const link = this.#links.get(session)
    if (link === undefined) return
    this.#delivered += 1
    const leaseUs = this.#leases?.get(session)
    for (let index = 0; index < results.length; index += 1) {
      const result = results[index] as TaskResult
      const key = { n: result.n, epoch: result.epoch }
      // The facts of a run travel with its result; the cores pass them on unseen.
      let { facts } = result as { facts?: RunFacts }
      if (leaseUs !== undefined && facts !== undefined) {
        const isLast = index === results.length - 1
        facts = { ...facts, startedUs: leaseUs, endedUs: this.#world.kernel.nowUs, isLast }
      }
      const event = { kind: 'result' as const, peer: this.id, key, outcome: result.outcome, facts }
      link.toSubmitter(event)
    }
  }

  #prepare(contextId: string): void {
    const { mode } = this.#world.scenario
    const context = this.#world.contextNumbered(contextId)
    this.dispatch({ kind: 'progress', contextId, phase: 'fetching', detail: '' })
    this.larder.stock(context, (problem) => {
      if (problem !== undefined) return this.#cannot(contextId, 'context-unavailable', problem)
      // In mode `partial` a task's time begins when its files are there, as it does in the paper.
      if (mode === 'partial') this.#restartLeases()
      this.dispatch({ kind: 'progress', contextId, phase: 'loading', detail: '' })
      this.#requireGpu().load(context, (refusal) => {
        if (refusal !== undefined) return this.#cannot(contextId, 'limit-reached', refusal)
        if (mode === 'pervasive') {
          if (this.isFindable) this.#world.directory.hold(this.number, context, 'warm')
          this.#world.announce(this)
          this.keeper?.changed(context)
        }
        this.dispatch({ kind: 'prepared', contextId, slots: this.device.slots })
      })
    })
  }

  #restartLeases(): void {
    for (const session of this.#leases?.keys() ?? []) this.#leases?.set(session, this.#world.kernel.nowUs)
  }

  #discard(contextId: string, keepsFiles: boolean): void {
    const context = this.#world.contextNumbered(contextId)
    this.#requireGpu().unload(context, () => {
      if (!keepsFiles) this.larder.discard(context)
      this.dispatch({ kind: 'discarded', contextId })
    })
  }

  #cannot(contextId: string, reason: string, detail: string): void {
    this.dispatch({ kind: 'unprepared', contextId, reason, detail })
  }

  #run(id: number, contextId: string, n: number, body: string): void {
    const { checks, scenario } = this.#world
    const context = this.#world.contextNumbered(contextId)
    if (this.#gpu?.isLoaded(context) !== true)
      return this.dispatch({ kind: 'done', run: id, result: NOT_LOADED })
    checks.onRun(this, context)
    const runS = this.#world.workloadOf(Number(body)).runS(n, this.device.inferenceS)
    this.#gpu.start(id, context, runS + scenario.shell.requestMs / 1000)
  }

  onRan(run: number, facts: RunFacts): void {
    const before = this.#delivered
    this.dispatch({ kind: 'done', run, result: doneWith(facts) })
    if (this.#delivered === before) this.#tickLater()
  }

  onUnloaded(context: number, reason: string): void {
    this.#world.directory.unhold(this.number, context, 'warm')
    this.keeper?.changed(context)
    this.#cannot(this.#world.contextId(context), 'context-unavailable', reason)
  }

  #loseLink(link: TaskLink): void {
    if (this.#forgetLink(link.session)) this.dispatch({ kind: 'lost', session: link.session })
  }

  #forgetLink(session: string): boolean {
    this.keeper?.sessionEnded(session)
    this.#tickLater()
    return this.#links.delete(session)
  }

  /**
   * Results that nobody acknowledges are forgotten in time. What was delivered is acknowledged, unless its
   * link is lost: only then does the worker's clock tick.
   */
  #tickLater(): void {
    if (this.#isTicking || (this.#worker?.ledger.bytes ?? 0) === 0) return
    this.#isTicking = true
    this.#timers.after(LEDGER_TICK_US, () => {
      this.#isTicking = false
      this.dispatch({ kind: 'tick' })
      this.#tickLater()
    })
  }

  #requireGpu(): Gpu {
    this.#gpu ??= new Gpu(this.#world, this, this.#timers)
    return this.#gpu
  }
}

/** What a run came to; its facts are the simulator's own. */
function doneWith(facts: RunFacts): RunResult & { facts: RunFacts } {
  return { outcome: 'ok', statusCode: 200, body: '', promptTokens: 0, completionTokens: 0, facts }
}

const NOT_LOADED: RunResult = {
  outcome: 'retry',
  statusCode: 503,
  body: '',
  promptTokens: 0,
  completionTokens: 0,
}
