import { SUBMITTER_SILENCE_MS } from '../../../src/tasks/wire/timings.ts'
import type { WorkerEvent } from '../../../src/tasks/worker/core/worker-state.ts'
import type { Random } from '../../../src/base/random.ts'
import type { PeerDevice } from '../swarm/device.ts'
import { loadSeconds } from '../swarm/device.ts'
import { GpuMeter } from '../swarm/gpu-meter.ts'
import type { Host } from '../swarm/host.ts'
import { Larder, type LarderOwner } from './larder.ts'
import { Presence } from './presence.ts'
import { ReplicaKeeper } from './replica-keeper.ts'
import { TAG } from '../events/tags.ts'
import type { TaskLink } from '../swarm/task-link.ts'
import { Timers } from '../events/timers.ts'
import type { PeerState, Swarm } from '../swarm/swarm.ts'
import { WorkerRun, type WorkerOwner } from './worker-run.ts'

/** The work that a peer ends before it shuts down. */
type Duty = 'work' | 'copies'

interface PeerPlace {
  number: number
  group: string
  device: PeerDevice
  host: Host
}

/** One serving peer: a machine that comes and goes, with its GPU, disk and line. */
export class Peer implements WorkerOwner, LarderOwner {
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
  /** The worker. Made at the first message, because most peers of a large swarm only wait. */
  #work: WorkerRun | undefined
  #inbox: [TaskLink, WorkerEvent][] = []
  #loadsDrawn = 0
  #frozenMs = 0
  state: PeerState = 'down'
  /** Whether it has found the others since it came up. */
  hasJoined = false
  /** Whether it was told that it will be taken away. */
  isLeaving = false
  /** The work left before it shuts down. */
  #toDo: Duty[] = []
  sessions = 0
  inferences = 0
  firstUpUs: number | undefined
  firstResultUs: number | undefined
  /** Loads of contexts before it last came up. */
  #loads = 0

  constructor(world: Swarm, { number, group, device, host }: PeerPlace) {
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
    if (this.state !== 'down') this.#go(keepsDisk, this.#world.scenario.losses === 'silent')
  }

  #go(keepsDisk: boolean, isSilent: boolean): void {
    const { nowUs } = this.#world.kernel
    if (this.state === 'frozen') this.#timers.thaw()
    else {
      this.larder.count(false)
      if (this.hasJoined) this.keeper?.stop(isSilent)
    }
    this.state = 'down'
    this.host.isReachable = false
    const work = this.#work
    work?.gpu.clear()
    this.larder.lose(keepsDisk)
    this.meter.down(nowUs)
    this.#timers.clear()
    this.#loads += work?.gpu.loads ?? 0
    this.#work = undefined
    this.#inbox = []
    this.#toDo = []
    this.#presence.sayGone()
    for (const link of linksOf(work)) this.#world.breakLink(link, isSilent || link.isCut)
  }

  /** It is told that it will be taken away: what has not begun goes back, what runs may end in time. */
  notice(leftUs: number): void {
    if (this.state !== 'up') return
    this.isLeaving = true
    this.#world.announce(this)
    this.#toDo = this.keeper === undefined ? ['work'] : ['work', 'copies']
    this.#requireWork().drain(leftUs)
    this.keeper?.drain()
  }

  onDrained(): void {
    this.#hasDone('work')
  }

  onHandedOver(): void {
    this.#hasDone('copies')
  }

  /** A peer that leaves is gone as soon as there is nothing left for it to do. */
  #hasDone(what: Duty): void {
    if (!this.#toDo.includes(what)) return
    this.#toDo = this.#toDo.filter((other) => other !== what)
    if (this.#toDo.length > 0) return
    // The event that ended its work is still being handled.
    this.#timers.after(0, () => {
      this.#go(true, false)
      this.#world.onLeft()
    })
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
    for (const link of linksOf(this.#work)) this.#world.breakLink(link, true)
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
    this.#work?.loseLinksThatAreOver()
  }

  /** The network is cut, so that it reaches only those of its side, or is healed: then it is on side 0. */
  moveTo(side: number): void {
    const { host } = this
    host.side = side
    for (const link of linksOf(this.#work)) {
      if (side === 0) link.heal()
      else this.#cutLink(link)
    }
    host.usedUploads?.cutOff()
    for (const { sources } of host.fetches.values()) for (const source of sources) source.uploads.cutOff()
    if (!this.hasJoined || this.state !== 'up') return
    if (side !== 0) return this.#presence.sayGone()
    this.#work?.loseLinksThatAreOver()
    this.#presence.sayThere()
    for (const context of this.#warmContexts()) this.#world.directory.hold(this.number, context, 'warm')
    this.#world.announce(this)
  }

  /** Each end takes the other as gone once it was silent for so long. */
  #cutLink(link: TaskLink): void {
    link.isCut = true
    this.#world.breakLink(link, true)
    this.#timers.after(1000 * SUBMITTER_SILENCE_MS, () => {
      if (link.isCut) this.#work?.loseLink(link)
    })
  }

  #warmContexts(): number[] {
    return [...this.host.shelves.keys()].filter((context) => this.#work?.gpu.isLoaded(context) === true)
  }

  holdsLink(link: TaskLink): boolean {
    return this.state === 'up' && !link.isCut && this.#work?.links.get(link.session) === link
  }

  receive(link: TaskLink, event: WorkerEvent): void {
    if (this.state === 'frozen') this.#inbox.push([link, event])
    if (this.state !== 'up') return
    if (this.device.isLiar) {
      if (event.kind === 'opened') this.#world.breakLink(link, true)
      return
    }
    this.#requireWork().receive(link, event)
  }

  onLinkOpened(session: string, contextId: string): void {
    this.keeper?.sessionOpened(session, contextId)
  }

  onLinkGone(session: string): void {
    this.keeper?.sessionEnded(session)
  }

  onWarm(context: number): void {
    if (this.isFindable) this.#world.directory.hold(this.number, context, 'warm')
    this.#world.announce(this)
    this.keeper?.changed(context)
  }

  onCooled(context: number): void {
    this.#world.directory.unhold(this.number, context, 'warm')
    this.keeper?.changed(context)
  }

  /** The run has ended: what is under way is counted. */
  settle(): void {
    this.#work?.gpu.clear()
    this.meter.touch(this.#world.kernel.nowUs)
  }

  drawLoadS(): number {
    const { streams, scenario } = this.#world
    const random = streams.of(this.id, 'load', this.#loadsDrawn++)
    return scenario.shell.hostStartS + loadSeconds(this.device.loadS, scenario.loads, random)
  }

  mayRun(context: number): boolean {
    return this.#work?.gpu.isLoaded(context) === true && this.host.shelf(context)?.isWhole === true
  }

  isWarm(context: number): boolean {
    return this.state === 'up' && this.#work?.gpu.isLoaded(context) === true
  }

  /** Whether it is up, with one loaded that is wanted. */
  hasWarm(isWanted: (context: number) => boolean): boolean {
    return this.state === 'up' && this.#work?.gpu.hasLoaded(isWanted) === true
  }

  mayDrop(context: number): { may: boolean; others: number } {
    return this.keeper?.mayDrop(context) ?? { may: false, others: 0 }
  }

  onHolding(context: number): void {
    this.keeper?.changed(context)
    this.keeper?.measureRoom()
  }

  get loadCount(): number {
    return this.#loads + (this.#work?.gpu.loads ?? 0)
  }

  #requireWork(): WorkerRun {
    this.#work ??= new WorkerRun(this.#world, this, this.#timers)
    return this.#work
  }
}

function linksOf(work: WorkerRun | undefined): Iterable<TaskLink> {
  return work?.links.values() ?? []
}
