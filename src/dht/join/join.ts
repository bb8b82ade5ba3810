import { peerIdFromString } from '@libp2p/peer-id'
import { sleep } from '../../base/clock.ts'
import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { randomBetween } from '../../base/random.ts'
import type { Random } from '../../base/random.ts'
import { addressToDial, isSettled, waitBeforeNextRound } from './core/join.ts'
import type { JoinTiming, JoinView } from './core/join.ts'
import type { Kademlia } from '../kademlia.ts'
import type { Members } from '../members.ts'
import { JOIN_TIMINGS } from '../timings.ts'
import { RememberedPeers } from './remembered-peers.ts'
import type { RememberedPeer } from './remembered-peers.ts'

export interface JoinComponents {
  kademlia: Kademlia
  members: Members
  clock: Clock
  random: Random
  log: Logger
  /** Keeps the last known good peers for the next start; what it was last given comes back as `remembered`. */
  save(peers: readonly RememberedPeer[]): Promise<void>
}

export interface JoinOptions extends JoinTiming {
  /** Addresses of peers to join through; none for the first peer of a swarm. */
  bootstrap: readonly string[]
  /** Peers known from earlier runs. */
  remembered: readonly RememberedPeer[]
  /** The first dial waits up to so long, ms: of a stampede, not all knock at once. */
  startJitterMs: number
  dialDeadlineMs: number
  /** How long connected members may take to get into the routing table, ms. */
  tableDeadlineMs: number
  /** How long one walk to the peers closest to us may take, ms. */
  walkDeadlineMs: number
  saveEveryMs: number
}

export const JOIN_OPTIONS: Readonly<Omit<JoinOptions, 'bootstrap' | 'remembered'>> = JOIN_TIMINGS

export interface JoinState {
  /** Whether the DHT can be used: others are in the routing table, or there are none to look for. */
  joined: boolean
  routingTableSize: number
  /** Why the last round got nowhere; undefined when it did. */
  lastError: Error | undefined
}

const TABLE_LOOK_EVERY_MS = 25

/**
 * Gets a peer into its swarm and keeps it there: dial somebody, wait for the routing table, walk to the
 * peers closest to us, again until the table is large enough, and for ever after at rest, since peers
 * that were met once may all go. It survives what @libp2p/bootstrap does not: a bootstrap peer that is
 * down, and many peers that start at once.
 */
export class Join {
  readonly #components: JoinComponents
  readonly #options: JoinOptions
  readonly #remembered: RememberedPeers
  readonly #joinedListeners = new Set<() => void>()
  #failures = 0
  #successes = 0
  #lastError: Error | undefined
  #wasJoined = false
  #loop: Promise<void> | undefined
  #nudge: () => void = () => {}
  #stopped = new AbortController()

  constructor(components: JoinComponents, options: JoinOptions) {
    this.#components = components
    this.#options = options
    this.#remembered = new RememberedPeers(components, options.remembered)
  }

  start(): void {
    this.#stopped = new AbortController()
    this.#loop = this.#run(this.#stopped.signal).catch((error: unknown) => {
      if (!this.#stopped.signal.aborted)
        this.#components.log.error({ error: messageOf(error) }, 'the join loop has ended')
    })
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new HearthError('stream-closed', 'the peer is stopping'))
    await this.#loop
    await this.#save()
  }

  get state(): JoinState {
    const { tableSize } = this.#components.kademlia
    return {
      joined: tableSize > 0 || this.#isFirst(),
      routingTableSize: tableSize,
      lastError: this.#lastError,
    }
  }

  /** Calls `listener` whenever the DHT becomes usable: what was provided before was told to nobody. */
  onJoined(listener: () => void): () => void {
    this.#joinedListeners.add(listener)
    return () => this.#joinedListeners.delete(listener)
  }

  /** Resolves once joined. Throws `no-peers`, with why, when the deadline passes first. */
  async untilJoined(options: { deadlineMs: number; signal?: AbortSignal | undefined }): Promise<void> {
    const { clock } = this.#components
    const endsAtMs = clock.nowMs() + options.deadlineMs
    while (!this.state.joined) {
      if (clock.nowMs() >= endsAtMs) throw this.#noPeers(options.deadlineMs)
      await sleep(clock, TABLE_LOOK_EVERY_MS, options.signal)
    }
  }

  /** Hears of a peer some other way, as by mDNS, and goes to see it. */
  learn(peer: { peer: string; addresses: readonly string[] }): void {
    if (this.#remembered.learn(peer)) this.lookNow()
  }

  /** Ends the present rest, because something has changed. */
  lookNow(): void {
    this.#nudge()
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#components
    if (!this.#isAlone()) await sleep(clock, randomBetween(random, 0, this.#options.startJitterMs), signal)
    let savedAtMs = clock.nowMs()
    for (;;) {
      await this.#round(signal)
      signal.throwIfAborted()
      this.#tellWhenJoined()
      if (clock.nowMs() - savedAtMs >= this.#options.saveEveryMs) {
        savedAtMs = clock.nowMs()
        await this.#save()
      }
      await this.#rest(waitBeforeNextRound(await this.#view(), this.#options, random), signal)
    }
  }

  /** One attempt to get further in. Never throws but for the stop. */
  async #round(signal: AbortSignal): Promise<void> {
    const { members, kademlia, log } = this.#components
    try {
      const address = addressToDial(await this.#view(), this.#components.random)
      if (address !== undefined) await this.#dial(address, signal)
      await this.#admitMembers(signal)
      if (kademlia.tableSize > 0) await this.#walk(signal)
      this.#lastError = undefined
    } catch (error) {
      signal.throwIfAborted()
      this.#lastError = error instanceof Error ? error : new Error(messageOf(error))
      log.debug({ error: messageOf(error) }, 'join round failed')
      if (kademlia.tableSize > 0) await this.#walk(signal).catch(() => {})
    }
    for (const peer of members.list()) this.#remembered.seen(peer)
    const settled = isSettled(await this.#view(), this.#options)
    this.#failures = settled ? 0 : this.#failures + 1
    this.#successes = settled ? this.#successes + 1 : 0
  }

  async #dial(address: string, signal: AbortSignal): Promise<void> {
    const peer = await this.#components.members.meet(address, {
      deadlineMs: this.#options.dialDeadlineMs,
      signal,
    })
    this.#remembered.answered(address, peer)
  }

  /** Gets the members that keep the DHT into the routing table: a ping to each that is not in it yet. */
  async #admitMembers(signal: AbortSignal): Promise<void> {
    const { clock, kademlia, members } = this.#components
    if (members.list().length === 0) return
    await withDeadline(
      { clock, ms: this.#options.tableDeadlineMs, whose: 'the pings of connected members', signal },
      async () => void (await Promise.all(members.list().map((peer) => kademlia.admit(peer)))),
    )
  }

  /** Asks for the peers closest to ourselves: those asked become known to us, and we to them. */
  async #walk(signal: AbortSignal): Promise<void> {
    const { clock, kademlia, members } = this.#components
    await withDeadline(
      { clock, ms: this.#options.walkDeadlineMs, whose: 'the peers closest to us', signal },
      async (walkSignal) => {
        const key = peerIdFromString(members.self).toMultihash().bytes
        for await (const found of kademlia.closest(key, { signal: walkSignal })) this.#remembered.learn(found)
      },
    )
  }

  async #rest(restMs: number, signal: AbortSignal): Promise<void> {
    const nudged = new AbortController()
    this.#nudge = () => nudged.abort(new Error('nudged'))
    const either = AbortSignal.any([signal, nudged.signal])
    await sleep(this.#components.clock, restMs, either).catch(() => signal.throwIfAborted())
    this.#nudge = () => {}
  }

  async #view(): Promise<JoinView> {
    const connected = new Set(this.#components.members.list())
    return {
      tableSize: this.#components.kademlia.tableSize,
      othersKnown: Math.max(connected.size, this.#remembered.countKnown(this.#options.bootstrap)),
      undialled: this.#remembered.undialled(this.#options.bootstrap, connected),
      isAlone: this.#isAlone(),
      failures: this.#failures,
      successes: this.#successes,
    }
  }

  #isAlone(): boolean {
    return this.#remembered.countKnown(this.#options.bootstrap) === 0
  }

  /** Told of no peer to join through, and those of earlier runs do not answer: it is the swarm's first. */
  #isFirst(): boolean {
    return this.#options.bootstrap.length === 0 && (this.#isAlone() || this.#failures > 0)
  }

  #tellWhenJoined(): void {
    const joined = this.#components.kademlia.tableSize > 0
    if (joined && !this.#wasJoined) for (const listener of this.#joinedListeners) listener()
    this.#wasJoined = joined
  }

  async #save(): Promise<void> {
    const { members, log } = this.#components
    try {
      for (const peer of members.list()) {
        this.#remembered.learn({ peer, addresses: await members.addressesOf(peer) })
        this.#remembered.seen(peer)
      }
      await this.#components.save(this.#remembered.list())
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'could not save the peers to join through next time')
    }
  }

  #noPeers(ms: number): HearthError {
    const why = this.#lastError === undefined ? '' : `: ${this.#lastError.message}`
    return new HearthError(
      'no-peers',
      `No peer of the swarm answered within ${ms} ms${why}. Check that a peer runs there, and the --bootstrap address`,
      {
        data: { ms, bootstrap: [...this.#options.bootstrap] },
        cause: this.#lastError,
      },
    )
  }
}
