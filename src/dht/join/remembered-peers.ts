import { z } from 'zod'
import type { Clock } from '../../base/clock.ts'
import { ADDRESS_BYTES_MAX, PEER_ADDRESSES_MAX, REMEMBERED_PEERS_MAX } from '../../base/limits.ts'
import type { Members, PeerAddresses } from '../members.ts'

/** A peer that answered, and when it last did (wall clock, ms). */
export interface RememberedPeer extends PeerAddresses {
  lastSeenMs: number
}

/** The file that node/ keeps: checked when it is read, since it may be damaged or edited. */
export const RememberedPeersSchema: z.ZodType<RememberedPeer[]> = z
  .array(
    z.strictObject({
      peer: z.string().min(1).max(128),
      addresses: z.array(z.string().max(ADDRESS_BYTES_MAX)).max(PEER_ADDRESSES_MAX),
      lastSeenMs: z.number().min(0),
    }),
  )
  .max(REMEMBERED_PEERS_MAX)

/** Peers to join through, bounded by REMEMBERED_PEERS_MAX; those unseen the longest are forgotten. */
export class RememberedPeers {
  readonly #self: string
  readonly #clock: Clock
  readonly #peers = new Map<string, RememberedPeer>()
  /** Which peer answered at a bootstrap address that names none. */
  readonly #answeredAt = new Map<string, string>()

  constructor(
    components: { members: Pick<Members, 'self'>; clock: Clock },
    peers: readonly RememberedPeer[],
  ) {
    this.#self = components.members.self
    this.#clock = components.clock
    for (const peer of peers) this.#keep(peer)
  }

  /** Hears of a peer and where it is. Returns whether it is new. */
  learn({ peer, addresses }: PeerAddresses): boolean {
    if (peer === this.#self || addresses.length === 0) return false
    const before = this.#peers.get(peer)
    this.#keep({
      peer,
      addresses: addresses.slice(0, PEER_ADDRESSES_MAX),
      lastSeenMs: before?.lastSeenMs ?? 0,
    })
    return before === undefined
  }

  /** Notes that a peer is connected now. */
  seen(peer: string): void {
    const known = this.#peers.get(peer)
    if (known !== undefined) this.#keep({ ...known, lastSeenMs: this.#clock.wallMs() })
  }

  /** Notes which peer answered at an address. */
  answered(address: string, peer: string): void {
    this.#answeredAt.set(address, peer)
    this.seen(peer)
  }

  /** The peers that answered, the latest first. These are saved. */
  list(): RememberedPeer[] {
    return [...this.#peers.values()]
      .filter(({ lastSeenMs }) => lastSeenMs > 0)
      .sort((a, b) => b.lastSeenMs - a.lastSeenMs)
  }

  /** Different peers known: those remembered, and those at `bootstrap`. */
  countKnown(bootstrap: readonly string[]): number {
    const known = new Set(this.#peers.keys())
    for (const address of bootstrap) known.add(this.#peerAt(address) ?? address)
    known.delete(this.#self)
    return known.size
  }

  /** Full addresses of the peers that are not in `connected`. */
  undialled(bootstrap: readonly string[], connected: ReadonlySet<string>): string[] {
    const isUndialled = (peer: string | undefined): boolean =>
      peer === undefined || (peer !== this.#self && !connected.has(peer))
    const remembered = [...this.#peers.values()]
      .filter(({ peer }) => isUndialled(peer))
      .flatMap(({ peer, addresses }) => addresses.map((address) => `${address}/p2p/${peer}`))
    return [...bootstrap.filter((address) => isUndialled(this.#peerAt(address))), ...remembered]
  }

  #peerAt(address: string): string | undefined {
    return /\/p2p\/([^/]+)$/.exec(address)?.[1] ?? this.#answeredAt.get(address)
  }

  #keep(peer: RememberedPeer): void {
    this.#peers.delete(peer.peer)
    this.#peers.set(peer.peer, peer)
    if (this.#peers.size <= REMEMBERED_PEERS_MAX) return
    let stalest = peer
    for (const kept of this.#peers.values()) if (kept.lastSeenMs < stalest.lastSeenMs) stalest = kept
    if (stalest === peer) this.#peers.delete(this.#peers.keys().next().value ?? peer.peer)
    else this.#peers.delete(stalest.peer)
  }
}
