import { FetchQueue, type WantedFetch } from '../../../src/context-sharing/download/core/fetch-queue.ts'
import type { FetchPriority } from '../../../src/context-sharing/wire/messages.ts'
import { SmallMap } from '../../../src/base/small-map.ts'
import { Disk, type DiskOwner } from './disk.ts'
import { Fetch } from './fetch.ts'
import type { Host } from '../swarm/host.ts'
import type { Fetcher, HostView } from '../swarm/host-view.ts'
import { Shelf } from '../swarm/shelf.ts'
import type { Timers } from '../events/timers.ts'
import type { PeerView, Swarm } from '../swarm/swarm.ts'

type OnStocked = (problem: string | undefined) => void
type OnPulled = (outcome: 'stored' | 'failed' | 'cancelled', hasGrown: boolean) => void

interface Wish {
  context: number
  onStocked: OnStocked[]
  /** A spare copy is wanted, too, or alone: then nothing here waits for it. */
  onPulled: OnPulled | undefined
  wanted: WantedFetch<number>
  fetch: Fetch | undefined
  /** Chunks that were here when it began. */
  chunksBefore: number
}

/** The private facts of its peer that the larder uses. */
export interface LarderOwner extends PeerView {
  /** Whether the context is loaded, and how many others are known to have a copy if it may go. */
  isWarm(context: number): boolean
  /** Whether what it tells the DHT comes to those who look. */
  readonly isFindable: boolean
  mayDrop(context: number): { may: boolean; others: number }
  /** The local part of a context has changed. */
  onHolding(context: number): void
}

/** The disk of one peer: contexts come to it from others, and it says what it has. */
export class Larder implements DiskOwner {
  readonly #world: Swarm
  readonly #peer: LarderOwner
  readonly #timers: Timers
  #wishes = new SmallMap<Wish>()
  #queue = new FetchQueue<number>()
  readonly disk: Disk
  #fetchesBegun = 0
  #received = 0
  #wasted = 0
  fetches = 0
  /** Bytes that came for spare copies alone. */
  spareBytes = 0

  constructor(world: Swarm, peer: LarderOwner, timers: Timers, quotaBytes: number) {
    this.#world = world
    this.#peer = peer
    this.#timers = timers
    this.disk = new Disk(world, this, quotaBytes)
  }

  get host(): Host {
    return this.#peer.host
  }

  /** Other peers that are known to hold all of it. */
  othersOf(context: number): number {
    return this.#peer.mayDrop(context).others
  }

  /** Bytes that came to it, those under way included. */
  get received(): number {
    return this.#received + this.#underWay(({ bytesReceived }) => bytesReceived)
  }

  /** The useless part of these. */
  get wasted(): number {
    return this.#wasted + this.#underWay(({ wastedBytes }) => wastedBytes)
  }

  #underWay(bytes: (fetch: Fetcher) => number): number {
    return this.#peer.host.fetches.values().reduce((sum, fetch) => sum + bytes(fetch), 0)
  }

  /** Has the context on disk, ready for use; `onStocked` gets why not, if so. */
  stock(context: number, onStocked: OnStocked): void {
    const shelf = this.#peer.host.shelf(context)
    this.disk.use(context, this.#world.kernel.nowMs)
    if (shelf?.isWhole === true && shelf.isUnpacked) return onStocked(undefined)
    const wish = this.#wish(context, 'urgent')
    wish.onStocked.push(onStocked)
    // A spare copy that was on its way is waited for from now on.
    if (wish.wanted.phase === 'running' && wish.onStocked.length === 1)
      this.#peer.meter.begin('transfer', this.#world.kernel.nowUs)
    this.#fetchNext()
  }

  /** Fetches a spare copy. */
  pull(context: number, priority: FetchPriority, onPulled: OnPulled): void {
    const wish = this.#wish(context, priority)
    wish.onPulled = onPulled
    this.#fetchNext()
  }

  /** Cancels a spare copy. Other callers that want the context still get it. */
  cancelPull(context: number): void {
    const wish = this.#wishes.get(context)
    if (wish?.onPulled === undefined) return
    if (this.#queue.leave(wish.wanted)) {
      this.#forget(wish)
      wish.fetch?.abort()
      if (wish.fetch !== undefined) this.#end(wish.fetch, true)
    }
    this.#tellPulled(wish, 'cancelled')
    this.#fetchNext()
  }

  /** A chunk was asked for only to see whether it is there. */
  countAudit(from: HostView, bytes: number): void {
    this.#world.countBytes(from, bytes)
    from.uploads.bytesSent += bytes
    this.#count(bytes)
    this.spareBytes += bytes
  }

  /** Takes a context off the disk. */
  discard(context: number): void {
    const { directory, tree, ledger } = this.#world
    const { host, number } = this.#peer
    if (host.shelf(context)?.isWhole === true) ledger.lose(context)
    host.shelves.delete(context)
    directory.unhold(number, context, 'stored')
    tree.removeSource(host, context)
    this.#peer.onHolding(context)
  }

  /** A context is put on the disk from outside. False where there is no room, or it is there already. */
  import(context: number): boolean {
    const { host } = this.#peer
    if (host.shelf(context)?.isWhole === true || !this.disk.hasRoom) return false
    host.shelves.set(context, new Shelf(this.#world.chunkBytes(context).length, true))
    this.#gain(context)
    this.#publish(context)
    return true
  }

  /** Whether the copies here count: the peer came up, or no longer answers. */
  count(isUp: boolean): void {
    const { ledger } = this.#world
    for (const [context, { isWhole }] of this.#peer.host.shelves) {
      if (isWhole && isUp) ledger.gain(context)
      if (isWhole && !isUp) ledger.lose(context)
    }
  }

  /** Tells the swarm what is here. */
  publish(): void {
    for (const [context, shelf] of this.#peer.host.shelves) {
      if (shelf.isWhole && (shelf.isUnpacked || this.#world.scenario.policy === 'hearth'))
        this.#publish(context)
    }
    this.#world.announce(this.#peer)
  }

  /** Hides the contexts of this peer from look-ups. */
  unpublish(): void {
    const { directory } = this.#world
    const { host, number } = this.#peer
    for (const context of host.shelves.keys()) {
      directory.unhold(number, context, 'stored')
      directory.unhold(number, context, 'warm')
    }
  }

  lose(keepsDisk: boolean): void {
    const { tree } = this.#world
    const { host } = this.#peer
    this.pause()
    this.#wishes = new SmallMap()
    this.#queue = new FetchQueue()
    tree.lose(host, (from, bytes) => this.#countWasted(from, bytes))
    this.unpublish()
    if (!keepsDisk) host.shelves.clear()
  }

  /** Everything under way stops. */
  pause(): void {
    const { host, meter } = this.#peer
    for (const fetch of host.fetches.values()) {
      const wish = this.#wishes.get(fetch.context)
      const isSpare = wish?.onStocked.length === 0
      fetch.abort()
      this.#end(fetch, isSpare)
      if (!isSpare) meter.end('transfer', this.#world.kernel.nowUs)
      if (wish === undefined) continue
      this.#queue.putBack(wish.wanted)
      wish.fetch = undefined
    }
    for (const { fetch } of host.usedUploads?.closeAll() ?? []) fetch.lose(host)
  }

  resume(): void {
    this.#fetchNext()
  }

  /** One more waits for the context. */
  #wish(context: number, priority: FetchPriority): Wish {
    const wanted = this.#queue.want(context, priority)
    const known = this.#wishes.get(context)
    if (known?.fetch !== undefined) known.fetch.uploadClass = wanted.priority
    if (known !== undefined) return known
    const chunksBefore = this.#peer.host.shelf(context)?.chunks.count ?? 0
    const wish: Wish = {
      context,
      onStocked: [],
      onPulled: undefined,
      wanted,
      fetch: undefined,
      chunksBefore,
    }
    this.#wishes.set(context, wish)
    return wish
  }

  #fetchNext(): void {
    for (let next = this.#queue.next(); next !== undefined; next = this.#queue.next())
      this.#fetch(this.#wishes.get(next.key) as Wish)
  }

  #forget(wish: Wish): void {
    this.#wishes.delete(wish.context)
    this.#queue.end(wish.wanted)
  }

  #fetch(wish: Wish): void {
    const { context } = wish
    const { kernel, scenario, contextBytes } = this.#world
    const { host, meter } = this.#peer
    const shelf = host.shelf(context)
    if (shelf?.isWhole === true) return this.#unpack(wish)
    if (shelf === undefined && !this.disk.makeRoom(kernel.nowMs))
      return this.#settle(wish, 'there is no room for it on the disk')
    this.fetches += 1
    if (wish.onStocked.length > 0) meter.begin('transfer', kernel.nowUs)
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
    const fetch: Fetch = new Fetch(this.#world, { host, context }, random, (problem) => {
      wish.fetch = undefined
      this.#end(fetch, wish.onStocked.length === 0)
      if (problem === undefined) return this.#onWhole(wish)
      if (wish.onStocked.length > 0) this.#peer.meter.end('transfer', this.#world.kernel.nowUs)
      this.#settle(wish, problem)
    })
    fetch.uploadClass = wish.wanted.priority
    wish.fetch = fetch
    fetch.start()
    this.#world.checks.onStore(this.#peer.id, this.disk)
    this.#peer.onHolding(context)
  }

  /** `isSpare`: nothing but replication wanted it. */
  #end(fetch: Fetcher, isSpare: boolean): void {
    this.#count(fetch.bytesReceived)
    this.#wasted += fetch.wastedBytes
    if (isSpare) this.spareBytes += fetch.bytesReceived
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
    this.#gain(wish.context)
    if (wish.onStocked.length > 0) {
      this.#peer.meter.end('transfer', this.#world.kernel.nowUs)
      return this.#unpack(wish)
    }
    this.#publish(wish.context)
    this.#world.announce(this.#peer)
    this.#settle(wish, undefined)
  }

  #unpack(wish: Wish): void {
    const { kernel } = this.#world
    const { meter, host, device } = this.#peer
    if (wish.onStocked.length === 0) return this.#settle(wish, undefined)
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

  #gain(context: number): void {
    if (this.#peer.state === 'up') this.#world.ledger.gain(context)
    this.#peer.onHolding(context)
  }

  #publish(context: number): void {
    this.#world.checks.onPublish(this.#peer, context)
    if (this.#peer.isFindable) this.#world.directory.hold(this.#peer.number, context, 'stored')
    this.#becomeSource(context)
  }

  /** In the paper every whole copy is a source from then on, if it is to stay. */
  #becomeSource(context: number): void {
    const { tree, scenario } = this.#world
    if (scenario.policy === 'paper' && scenario.mode !== 'none') tree.addSource(this.#peer.host, context)
  }

  #settle(wish: Wish, problem: string | undefined): void {
    this.#forget(wish)
    this.#tellPulled(wish, problem === undefined ? 'stored' : 'failed')
    for (const onStocked of wish.onStocked) onStocked(problem)
    this.#peer.onHolding(wish.context)
    this.#fetchNext()
  }

  #tellPulled(wish: Wish, outcome: Parameters<OnPulled>[0]): void {
    const { onPulled, chunksBefore, context } = wish
    wish.onPulled = undefined
    onPulled?.(outcome, (this.#peer.host.shelf(context)?.chunks.count ?? 0) > chunksBefore)
  }

  /** Why a context cannot go now; undefined when it can. */
  whyInUse(context: number): string | undefined {
    const { host } = this
    if (this.#peer.isWarm(context)) return 'it is loaded'
    if (this.#wishes.has(context)) return 'it is being fetched'
    if ((host.usedUploads?.fetchers(context).length ?? 0) > 0) return 'it is being served'
    if (host.shelf(context)?.isWhole !== true) return undefined
    return this.#peer.mayDrop(context).may ? undefined : 'others count on the copy here'
  }
}
