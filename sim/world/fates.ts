import type { ChurnEvent, ChurnSource } from '../churn/churn-events.ts'
import { NO_EVENT, type EventHandle, type Kernel } from '../kernel/kernel.ts'
import type { RandomStreams } from '../kernel/random-streams.ts'
import type { PeerGroup, Scenario } from '../scenarios/schema.ts'
import type { Peer } from './peer/peer.ts'
import { churnOfGroup, joinsChurn } from './pool-churn.ts'
import { TAG } from './events/tags.ts'

/** The parts that decide when peers join and leave. */
export interface FatedWorld {
  readonly kernel: Kernel
  readonly scenario: Scenario
  readonly streams: RandomStreams
}

/** Makes peers join and leave, by the churn of their groups or a curve of joins. */
export class Fates {
  readonly #world: FatedWorld
  readonly #makePeer: (group: PeerGroup, number: number) => Peer
  /** Peers whose processes are starting. */
  readonly #starting = new Map<Peer, EventHandle>()
  /** Peers that are up. */
  liveCount = 0

  constructor(world: FatedWorld, makePeer: (group: PeerGroup, number: number) => Peer) {
    this.#world = world
    this.#makePeer = makePeer
  }

  /** Makes all peers, and begins to play what happens to them. */
  play(): void {
    for (const { churn, peerOf } of this.#churnSources()) this.#play(churn, peerOf)
  }

  #churnSources(): { churn: ChurnSource; peerOf: (number: number) => Peer }[] {
    const { peers, joins } = this.#world.scenario
    const sources = peers.map((group) => {
      const members = Array.from({ length: group.count }, (_, number) => this.#makePeer(group, number))
      const peerOf = (number: number): Peer => (members[number] ??= this.#makePeer(group, number))
      return { churn: churnOfGroup(group, this.#world.streams), peerOf, members }
    })
    if (joins === undefined) return sources
    const order = shuffled(
      sources.flatMap(({ members }) => members),
      this.#world.streams,
    )
    return [{ churn: joinsChurn(joins, order.keys().toArray()), peerOf: (number) => order[number] as Peer }]
  }

  #play(churn: ChurnSource, peerOf: (number: number) => Peer): void {
    const event = churn.next()
    if (event === undefined) return
    const { quiet } = this.#world.scenario
    if (
      quiet !== undefined &&
      event.atMs >= quiet.fromS * 1000 &&
      event.kind !== 'up' &&
      event.kind !== 'thaw'
    )
      return this.#play(churn, peerOf)
    this.#world.kernel.at(event.atMs * 1000, TAG.churn + event.peer, () => {
      this.#befall(peerOf(event.peer), event)
      this.#play(churn, peerOf)
    })
  }

  #befall(peer: Peer, event: ChurnEvent): void {
    this.#world.kernel.note(peer.number)
    const before = peer.state
    switch (event.kind) {
      case 'up':
        if (!event.isDiskKept && peer.sessions > 0) peer.host.shelves.clear()
        this.#start(peer, event.isDiskKept && peer.sessions > 0)
        break
      case 'down':
        this.#world.kernel.cancel(this.#starting.get(peer) ?? NO_EVENT)
        peer.down(!event.isForEver)
        break
      case 'notice':
        peer.notice((event.downAtMs - event.atMs) * 1000)
        break
      case 'freeze':
        peer.freeze()
        break
      case 'thaw':
        peer.thaw()
        break
    }
    this.liveCount += Number(peer.state === 'up') - Number(before === 'up')
  }

  /** Its process is started: from then on it takes a while until it is there. */
  #start(peer: Peer, isBack: boolean): void {
    const { startUpS } = this.#world.scenario.shell
    if (startUpS === 0) return peer.up(isBack)
    const start = this.#world.kernel.after(startUpS * 1e6, TAG.churn + peer.number, () => {
      peer.up(isBack)
      this.liveCount += 1
    })
    this.#starting.set(peer, start)
  }
}

/** Fisher and Yates, by a stream of its own. */
function shuffled(peers: Peer[], streams: RandomStreams): Peer[] {
  const random = streams.of('pool', 'order')
  const order = [...peers]
  for (let index = order.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random.next() * (index + 1))
    ;[order[index], order[other]] = [order[other] as Peer, order[index] as Peer]
  }
  return order
}
