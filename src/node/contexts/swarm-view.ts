import { HearthError } from '../../base/errors.ts'
import type { AdvertBoard } from '../../dht/advert/advert-board.ts'
import type { Advert } from '../../dht/advert/advert.ts'
import type { ContentRouting } from '../../dht/content-routing.ts'
import type { Members } from '../../dht/members.ts'
import type { Candidate } from '../../tasks/submitter/core/candidate.ts'
import type { CandidateSource } from '../../tasks/submitter/coordinator.ts'
import { ADVERT_AGE_MS_MAX, ADVERT_DEADLINE_MS, LOOK_UP_DEADLINE_MS, PROVIDERS_MAX } from './timings.ts'

export interface SwarmViewComponents {
  board: AdvertBoard
  routing: ContentRouting
  members: Members
}

/** The peers of the swarm and the contexts they hold, from hints of the DHT and claims of adverts. */
export class SwarmView implements CandidateSource {
  readonly #components: SwarmViewComponents

  constructor(components: SwarmViewComponents) {
    this.#components = components
  }

  /** Yields connected members first, which costs nothing, then other peers that the DHT names. */
  async *find(contextId: string, { signal }: { signal: AbortSignal }): AsyncGenerator<Candidate[]> {
    const connected = new Set(this.#components.members.list())
    yield (await this.members(signal)).map((advert) => candidateOf(advert, contextId))
    const tiers = ['warm', 'stored'] as const
    const providers = await Promise.all(tiers.map((tier) => this.#providers(contextId, tier, signal)))
    const others = [...new Set(providers.flat())].filter((peer) => !connected.has(peer))
    const adverts = await Promise.all(others.map((peer) => this.#advertOf(peer, signal)))
    yield adverts.flatMap((advert) => (advert === undefined ? [] : [candidateOf(advert, contextId)]))
  }

  watch(contextId: string, listener: (candidate: Candidate) => void): () => void {
    return this.#components.board.onChange((advert) =>
      // A peer sends its own advert, so it is here now.
      listener({ ...candidateOf(advert, contextId), isHere: true }),
    )
  }

  /** Peers that hold the context or a part of it: members that advertise it, else peers that the DHT names. */
  async holders(contextId: string, signal: AbortSignal): Promise<string[]> {
    for await (const candidates of this.find(contextId, { signal })) {
      const holders = candidates.filter(({ tier }) => tier !== 'absent').map(({ peer }) => peer)
      if (holders.length > 0) return holders
    }
    return []
  }

  /**
   * The CID of a name in the swarm. Throws `context-unknown` with the names on offer, and
   * `context-ambiguous` when peers use the name for different contexts, or for another one than it is known for.
   */
  async resolve(name: string, signal: AbortSignal, known?: string): Promise<string> {
    const { board } = this.#components
    await this.members(signal)
    const offered = board.known().flatMap((advert) => advert.contexts)
    const chosen = chooseContext(name, this.#holdersByContext(name), known)
    if (chosen !== undefined) return chosen
    const names = [...new Set(offered.map((context) => context.name))].filter((known) => known !== '').sort()
    const offer =
      names.length === 0
        ? 'no peer offers any; import one with "hearth context add"'
        : `on offer: ${names.join(', ')}`
    throw new HearthError(
      'context-unknown',
      `No peer has a context named "${name}" (${board.known().length} peers asked; ${offer})`,
    )
  }

  /** The contexts that peers give this name, each with those peers. */
  #holdersByContext(name: string): Map<string, string[]> {
    const holders = new Map<string, string[]>()
    for (const { peer, contexts } of this.#components.board.known()) {
      for (const context of contexts) {
        if (context.name !== name) continue
        holders.set(context.contextId, [...(holders.get(context.contextId) ?? []), peer])
      }
    }
    return holders
  }

  /** The name that most peers give a context; undefined when none has one. */
  nameOf(contextId: string): string | undefined {
    const counts = new Map<string, number>()
    for (const { contexts } of this.#components.board.known()) {
      const name = contexts.find((context) => context.contextId === contextId)?.name ?? ''
      if (name !== '') counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    return [...counts].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1))[0]?.[0]
  }

  /** The adverts of all connected members; asks again for those that are old. */
  async members(signal: AbortSignal): Promise<Advert[]> {
    const adverts = await Promise.all(
      this.#components.members.list().map((peer) => this.#advertOf(peer, signal)),
    )
    return adverts.filter((advert) => advert !== undefined)
  }

  async #providers(contextId: string, tier: 'stored' | 'warm', signal: AbortSignal): Promise<string[]> {
    const found: string[] = []
    const options = { signal, max: PROVIDERS_MAX, deadlineMs: LOOK_UP_DEADLINE_MS }
    try {
      for await (const peer of this.#components.routing.find(contextId, tier, options)) found.push(peer)
    } catch {
      // A failed look-up only lacks hints: connected members are asked in any case.
    }
    return found
  }

  async #advertOf(peer: string, signal: AbortSignal): Promise<Advert | undefined> {
    const { board, members } = this.#components
    if (peer === members.self) return undefined
    try {
      return await board.get(peer, { maxAgeMs: ADVERT_AGE_MS_MAX, deadlineMs: ADVERT_DEADLINE_MS, signal })
    } catch {
      return undefined
    }
  }
}

/** Peers that an error names for each context. */
const HOLDERS_NAMED_MAX = 4

/** The context that a name stands for. Throws `context-ambiguous`; undefined when no peer uses the name. */
export function chooseContext(
  name: string,
  holders: ReadonlyMap<string, readonly string[]>,
  known: string | undefined,
): string | undefined {
  if (known !== undefined && holders.has(known)) return known
  const [first, ...others] = holders.keys()
  if (first === undefined || (known === undefined && others.length === 0)) return first
  const offers = [...holders].map(([contextId, peers]) => {
    const more = peers.length > HOLDERS_NAMED_MAX ? ` and ${peers.length - HOLDERS_NAMED_MAX} more` : ''
    return `${contextId} (of ${peers.slice(0, HOLDERS_NAMED_MAX).join(', ')}${more})`
  })
  const data = { name, known, offered: Object.fromEntries(holders) }
  const accept = `Give the CID of the one that you want: --context CID for this job, or --context ${name}=CID to use it under this name from now on`
  if (known === undefined) {
    const words = `"${name}" names ${holders.size} different contexts: ${offers.join('; ')}. ${accept}`
    throw new HearthError('context-ambiguous', words, { data })
  }
  const words = `"${name}" was ${known} in earlier jobs, and peers now use the name for ${offers.join('; ')}. Start a peer that has the first, or accept another. ${accept}`
  throw new HearthError('context-ambiguous', words, { data })
}

function candidateOf(advert: Advert, contextId: string): Candidate {
  const held = advert.contexts.find((context) => context.contextId === contextId)
  const { accepts, reason } = advert.serving
  return {
    peer: advert.peer,
    tier: held?.tier ?? 'absent',
    accepts,
    reason,
    share: held?.share,
    bytes: held?.bytes,
    loadMs: held?.loadMs,
    fetchBytesPerSecond: advert.fetchBytesPerSecond,
    tokensPerSecond: held?.tokensPerSecond,
  }
}
