import { FETCHES_MAX } from '../../src/base/limits.ts'
import { Fetch } from './fetch.ts'
import type { Fetcher, HostView } from './host-view.ts'
import { Shelf } from './shelf.ts'
import type { Timers } from './timers.ts'
import type { PeerView, Swarm } from './swarm.ts'

type OnStocked = (problem: string | undefined) => void

interface Wish {
  context: number
  onStocked: OnStocked[]
  isFetching: boolean
}

/** The disk of one peer: contexts come to it from others, and it says what it has. */
export class Larder {
  readonly #world: Swarm
  readonly #peer: PeerView
  readonly #timers: Timers
  readonly #wishes = new Map<number, Wish>()
  #fetchesBegun = 0
  #received = 0
  #wasted = 0
  fetches = 0

  constructor(world: Swarm, peer: PeerView, timers: Timers) {
    this.#world = world
    this.#peer = peer
    this.#timers = timers
  }

  /** Bytes that came to it, those under way included. */
  get received(): number {
    return this.#received + this.#underWay(({ bytesReceived }) => bytesReceived)
  }

  /** Of these, what was of no use. */
  get wasted(): number {
    return this.#wasted + this.#underWay(({ wastedBytes }) => wastedBytes)
  }

  #underWay(bytes: (fetch: Fetcher) => number): number {
    return [...this.#peer.host.fetches.values()].reduce((sum, fetch) => sum + bytes(fetch), 0)
  }

  /** Has the context on disk, ready for use; `onStocked` gets why not, if so. */
  stock(context: number, onStocked: OnStocked): void {
    const shelf = this.#peer.host.shelf(context)
    if (shelf?.isWhole === true && shelf.isUnpacked) return onStocked(undefined)
    const wish = this.#wishes.get(context)
    if (wish !== undefined) return void wish.onStocked.push(onStocked)
    this.#wishes.set(context, { context, onStocked: [onStocked], isFetching: false })
    this.#fetchNext()
  }

  /** Takes a context off the disk. */
  discard(context: number): void {
    const { directory, tree } = this.#world
    const { host, number } = this.#peer
    host.shelves.delete(context)
    directory.unhold(number, context, 'stored')
    tree.removeSource(host, context)
  }

  /** Tells the swarm what is here. */
  publish(): void {
    for (const [context, shelf] of this.#peer.host.shelves) {
      if (shelf.isWhole && shelf.isUnpacked) this.#publish(context)
    }
    this.#world.announce(this.#peer)
  }

  lose(keepsDisk: boolean): void {
    const { directory, tree } = this.#world
    const { host, number } = this.#peer
    this.pause()
    this.#wishes.clear()
    tree.lose(host, (from, bytes) => this.#countWasted(from, bytes))
    for (const context of host.shelves.keys()) {
      directory.unhold(number, context, 'stored')
      directory.unhold(number, context, 'warm')
    }
    if (!keepsDisk) host.shelves.clear()
  }

  /** Everything under way stops. */
  pause(): void {
    const { host, meter } = this.#peer
    for (const fetch of host.fetches.values()) {
      fetch.abort()
      this.#end(fetch)
      meter.end('transfer', this.#world.kernel.nowUs)
      const wish = this.#wishes.get(fetch.context)
      if (wish !== undefined) wish.isFetching = false
    }
    for (const { fetch } of host.uploads.closeAll()) fetch.lose(host)
  }

  resume(): void {
    this.#fetchNext()
  }

  #fetchNext(): void {
    let fetching = [...this.#wishes.values()].filter(({ isFetching }) => isFetching).length
    for (const wish of this.#wishes.values()) {
      if (fetching >= FETCHES_MAX) return
      if (wish.isFetching) continue
      wish.isFetching = true
      fetching += 1
      this.#fetch(wish)
    }
  }

  #fetch(wish: Wish): void {
    const { context } = wish
    const { kernel, scenario, contextBytes } = this.#world
    const { host, meter } = this.#peer
    if (host.shelf(context)?.isWhole === true) return this.#unpack(wish)
    this.fetches += 1
    meter.begin('transfer', kernel.nowUs)
    if (scenario.policy === 'hearth') return this.#fetchChunks(wish)
    const onDone = (): void => {
      this.#count(contextBytes)
      host.shelves.set(context, new Shelf(this.#world.chunkBytes(context).length, true))
      this.#becomeSource(context)
      this.#onWhole(wish)
    }
    const onCut = (from: HostView, bytes: number): void => this.#countWasted(from, bytes)
    // Without any keeping, the paper's tasks all read the shared file system.
    const { tree } = this.#world
    const from = scenario.mode === 'none' ? this.#world.origin : undefined
    tree.wish({ host, context, bytes: contextBytes, onDone, onCut, from })
  }

  #fetchChunks(wish: Wish): void {
    const { host } = this.#peer
    const { context } = wish
    const random = this.#world.streams.of(host.id, 'fetch', this.#fetchesBegun++)
    const fetch: Fetch = new Fetch(this.#world, host, context, random, (problem) => {
      this.#end(fetch)
      if (problem === undefined) return this.#onWhole(wish)
      this.#peer.meter.end('transfer', this.#world.kernel.nowUs)
      this.#settle(wish, problem)
    })
    fetch.start()
  }

  #end(fetch: Fetcher): void {
    this.#count(fetch.bytesReceived)
    this.#wasted += fetch.wastedBytes
  }

  #count(bytes: number): void {
    this.#received += bytes
  }

  #countWasted(from: HostView, bytes: number): void {
    this.#world.countBytes(from, bytes)
    from.uploads.bytesSent += bytes
    this.#count(bytes)
    this.#wasted += bytes
  }

  #onWhole(wish: Wish): void {
    this.#peer.meter.end('transfer', this.#world.kernel.nowUs)
    this.#unpack(wish)
  }

  #unpack(wish: Wish): void {
    const { kernel } = this.#world
    const { meter, host, device } = this.#peer
    meter.begin('load', kernel.nowUs)
    this.#timers.after(device.unpackS * 1e6, () => {
      meter.end('load', kernel.nowUs)
      const shelf = host.shelf(wish.context)
      if (shelf !== undefined) shelf.isUnpacked = true
      this.#publish(wish.context)
      this.#world.announce(this.#peer)
      this.#settle(wish, undefined)
    })
  }

  #publish(context: number): void {
    this.#world.checks.onPublish(this.#peer, context)
    this.#world.directory.hold(this.#peer.number, context, 'stored')
    this.#becomeSource(context)
  }

  /** In the paper every whole copy is a source from then on, if it is to stay. */
  #becomeSource(context: number): void {
    const { tree, scenario } = this.#world
    if (scenario.policy === 'paper' && scenario.mode !== 'none') tree.addSource(this.#peer.host, context)
  }

  #settle(wish: Wish, problem: string | undefined): void {
    this.#wishes.delete(wish.context)
    for (const onStocked of wish.onStocked) onStocked(problem)
    this.#fetchNext()
  }
}
