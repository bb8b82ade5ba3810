import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import { every } from '../base/clock.ts'
import type { Cancel, Clock } from '../base/clock.ts'
import { withDeadline } from '../base/waiting/deadline.ts'
import { HearthError, messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log/logger.ts'
import type { Kademlia } from './kademlia.ts'
import type { PeerAddresses } from './members.ts'

/** The tiers of a context that are said in the DHT; a partial holder says it in its advert only. */
export type ProvidedTier = 'stored' | 'warm'

export interface ContentRoutingComponents {
  kademlia: Kademlia
  /** Our own peer id, which look-ups leave out. */
  self: string
  clock: Clock
  log: Logger
}

export interface ContentRoutingOptions {
  /** How long telling the DHT about one context may take, ms. */
  provideDeadlineMs: number
  /** How often what could not be said yet is said again, ms. */
  repairEveryMs: number
  /** How long a withdrawn context is looked after, ms: a renewal under way may have brought it back. */
  withdrawnKeptMs: number
}

export const CONTENT_ROUTING_OPTIONS: Readonly<ContentRoutingOptions> = Object.freeze({
  provideDeadlineMs: 10_000,
  repairEveryMs: 5_000,
  withdrawnKeptMs: 60_000,
})

export interface FindOptions {
  signal?: AbortSignal | undefined
  /** Peers to find before the lookup ends. The first costs 10 to 100 times less than all. */
  max: number
  /** When the lookup ends with what it has found, ms. */
  deadlineMs: number
}

interface Provided {
  key: CID
  /** Whether any other peer has been told. */
  told: boolean
}

/**
 * Finds hints of who holds a context: one DHT key per context for its holders, and a derived key for peers
 * that have it warm. A hint may be 150 s old; adverts are newer, and only a dial is certain.
 */
export class ContentRouting {
  readonly #components: ContentRoutingComponents
  readonly #options: ContentRoutingOptions
  readonly #provided = new Map<string, Provided>()
  readonly #withdrawn = new Map<string, { key: CID; sinceMs: number }>()
  readonly #provideTurns = new Map<string, Promise<void>>()
  #cancelRepair: Cancel = () => {}
  #stopped = new AbortController()

  constructor(
    components: ContentRoutingComponents,
    options: ContentRoutingOptions = CONTENT_ROUTING_OPTIONS,
  ) {
    this.#components = components
    this.#options = options
  }

  start(): void {
    this.#stopped = new AbortController()
    this.#cancelRepair = every(this.#components.clock, this.#options.repairEveryMs, () => this.#repair())
  }

  stop(): void {
    this.#cancelRepair()
    this.#stopped.abort(new HearthError('stream-closed', 'the peer is stopping'))
  }

  /**
   * Says that we hold the context at `tier`, from now until `withdraw`. Resolves when peers have been
   * told, or when the deadline has passed: it goes on being said in the background.
   * Throws `context-invalid` for an id that is no CID of sha2-256.
   */
  async provide(contextId: string, tier: ProvidedTier): Promise<void> {
    const key = await tierKey(contextId, tier)
    const name = key.toString()
    this.#withdrawn.delete(name)
    if (!this.#provided.has(name)) this.#provided.set(name, { key, told: false })
    await this.#say(name)
  }

  /** Ends saying so. Peers that were told forget it within the record validity. */
  async withdraw(contextId: string, tier: ProvidedTier): Promise<void> {
    const key = await tierKey(contextId, tier)
    const name = key.toString()
    this.#provided.delete(name)
    this.#withdrawn.set(name, { key, sinceMs: this.#components.clock.nowMs() })
    await this.#components.kademlia.stopProviding(key)
  }

  /** Says everything again: for a peer that has just joined, and so far told only itself. */
  async announceAgain(): Promise<void> {
    for (const provided of this.#provided.values()) provided.told = false
    for (const name of this.#provided.keys()) await this.#say(name)
  }

  /** Peers that are said to hold the context at `tier`, each once, as they are found. Ends early, and never throws for the network. */
  async *find(contextId: string, tier: ProvidedTier, options: FindOptions): AsyncIterable<string> {
    const key = await tierKey(contextId, tier)
    yield* this.#collect((signal) => this.#components.kademlia.providers(key, { signal }), options)
  }

  /** Peers near the context's key, holders or not: candidates that could fetch it. */
  async *closestPeers(contextId: string, options: FindOptions): AsyncIterable<string> {
    const key = await tierKey(contextId, 'stored')
    yield* this.#collect(
      (signal) => this.#components.kademlia.closest(key.multihash.bytes, { signal }),
      options,
    )
  }

  async *#collect(
    look: (signal: AbortSignal) => AsyncIterable<PeerAddresses>,
    options: FindOptions,
  ): AsyncIterable<string> {
    const { clock, kademlia, self, log } = this.#components
    const ended = new AbortController()
    const end = (): void => ended.abort(new HearthError('deadline-passed', 'the lookup has ended'))
    const cancel = clock.schedule(options.deadlineMs, end, { background: true })
    options.signal?.addEventListener('abort', end, { once: true })
    if (options.signal?.aborted === true || this.#stopped.signal.aborted) end()
    const seen = new Set<string>([self])
    try {
      for await (const found of look(ended.signal)) {
        if (seen.has(found.peer)) continue
        seen.add(found.peer)
        await kademlia.learn(found)
        yield found.peer
        if (seen.size > options.max) return
      }
    } catch (error) {
      if (!ended.signal.aborted) log.debug({ error: messageOf(error) }, 'lookup failed')
    } finally {
      cancel()
      options.signal?.removeEventListener('abort', end)
      end()
    }
  }

  /** One at a time per key: a second call waits for the first, and finds the work done. */
  async #say(name: string): Promise<void> {
    const before = this.#provideTurns.get(name)
    const turn = (before ?? Promise.resolve()).then(() => this.#sayNow(name))
    this.#provideTurns.set(name, turn)
    await turn
    if (this.#provideTurns.get(name) === turn) this.#provideTurns.delete(name)
  }

  async #sayNow(name: string): Promise<void> {
    const provided = this.#provided.get(name)
    if (provided === undefined || provided.told) return
    const { clock, kademlia, log } = this.#components
    try {
      const told = await withDeadline(
        {
          clock,
          ms: this.#options.provideDeadlineMs,
          whose: 'the peers that keep provider records',
          signal: this.#stopped.signal,
        },
        (signal) => kademlia.provide(provided.key, { signal }),
      )
      provided.told = told > 0
      log.debug({ key: name, told }, 'provider record sent')
    } catch (error) {
      if (!this.#stopped.signal.aborted) log.info({ key: name, error: messageOf(error) }, 'providing failed')
    }
    if (!this.#provided.has(name)) await kademlia.stopProviding(provided.key)
  }

  #repair(): void {
    const nowMs = this.#components.clock.nowMs()
    for (const [name, { key, sinceMs }] of this.#withdrawn) {
      if (nowMs - sinceMs > this.#options.withdrawnKeptMs) this.#withdrawn.delete(name)
      this.#inBackground(this.#components.kademlia.stopProviding(key))
    }
    if (this.#components.kademlia.tableSize === 0) return
    for (const [name, provided] of this.#provided) {
      if (!provided.told && !this.#provideTurns.has(name)) this.#inBackground(this.#say(name))
    }
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error: unknown) => this.#components.log.warn({ error: messageOf(error) }, 'repair failed'))
  }
}

/** The DHT key of a context at a tier. Throws `context-invalid`. */
export async function tierKey(contextId: string, tier: ProvidedTier): Promise<CID> {
  const cid = parseContextId(contextId)
  if (tier === 'stored') return cid
  const digest = await sha256.digest(new TextEncoder().encode(`warm:${cid.toString()}`))
  return CID.createV1(raw.code, digest)
}

function parseContextId(contextId: string): CID {
  let cid: CID | undefined
  try {
    cid = CID.parse(contextId)
  } catch {
    cid = undefined
  }
  if (cid?.multihash.code === sha256.code) return cid
  throw new HearthError(
    'context-invalid',
    `${JSON.stringify(contextId)} is not a context id, which is a CID with a sha2-256 hash. "hearth context ls" lists them`,
    { data: { contextId } },
  )
}
