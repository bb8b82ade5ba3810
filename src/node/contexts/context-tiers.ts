import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { ContextStore } from '../../context-sharing/store/context-store.ts'
import type { OwnContext } from '../../context-sharing/replication/replica-view.ts'
import type { ContextSharing } from '../../context-sharing/context-sharing.ts'
import type { ContextTier } from '../../context-sharing/store/tiers.ts'
import type { AdvertContext } from '../../dht/advert/advert.ts'
import type { ContentRouting, ProvidedTier } from '../../dht/content-routing.ts'
import type { WarmContexts } from '../../inference/residency/warm-contexts.ts'
import type { Worker } from '../../tasks/worker/worker.ts'
import type { ContextPreparer } from './context-preparer.ts'
import type { ContextStatus } from '../status/peer-status.ts'

/** Characters of a numeric class that an advert has room for. */
const NUMERIC_CLASS_CHARACTERS_MAX = 128

export interface ContextTiersComponents {
  store: ContextStore
  warm: WarmContexts
  preparer: ContextPreparer
  sharing: ContextSharing
  worker: Worker
  routing: ContentRouting
  log: Logger
}

/**
 * Where each context is on this peer, said truthfully: provider records and adverts follow what the
 * store has verified and the engine hosts have loaded, and never run ahead of it.
 */
export class ContextTiers {
  readonly #components: ContextTiersComponents
  /** The records provided to the DHT, as "tier contextId". */
  readonly #provided = new Set<string>()
  #onChange: () => void = () => {}
  #cancel: () => void = () => {}

  constructor(components: ContextTiersComponents) {
    this.#components = components
  }

  start(onChange: () => void): void {
    this.#onChange = onChange
    const { store, warm, sharing } = this.#components
    const changed = (): void => this.changed()
    const cancels = [store.onChange(changed), warm.onChange(changed), sharing.onFetching(changed)]
    this.#cancel = () => cancels.forEach((cancel) => cancel())
  }

  stop(): void {
    this.#cancel()
    this.#onChange = () => {}
    this.#provided.clear()
  }

  /** Takes back what was said in the DHT; from now on nothing more is said there. */
  withdraw(): void {
    this.#cancel()
    for (const said of this.#provided) this.#say('withdraw', said)
  }

  /** To be called when something was stored, named, loaded or unloaded: tells the DHT and the members. */
  changed(): void {
    const wanted = new Set(this.#wanted())
    for (const said of this.#provided) if (!wanted.has(said)) this.#say('withdraw', said)
    for (const say of wanted) if (!this.#provided.has(say)) this.#say('provide', say)
    this.#onChange()
  }

  /** Every context on this peer, with its tier. */
  list(): ContextStatus[] {
    const { store, warm, preparer, sharing, worker } = this.#components
    const busy = new Set(worker.status().sessions.map(({ contextId }) => contextId))
    const loaded = new Map(warm.list().map((context) => [context.contextId, context]))
    return store.list().map(({ contextId, names, tier, bytes, isPinned }) => {
      const host = loaded.get(contextId)
      return {
        contextId,
        names,
        tier:
          tier.kind !== 'stored'
            ? 'partial'
            : host === undefined
              ? 'stored'
              : host.isReady
                ? 'warm'
                : 'loading',
        share: shareOf(tier),
        bytes,
        isPinned,
        isFetching: sharing.isFetching(contextId),
        isBusy: busy.has(contextId),
        fetchedFrom: preparer.fetchedFrom(contextId),
        engine: host?.facts?.engine,
        provider: host?.facts?.provider,
        numericClass: host?.facts?.numericClass,
        slots: host?.facts?.slots,
        tokensPerSecond: preparer.tokensPerSecond(contextId),
        loadMs: preparer.loadMs(contextId),
      }
    })
  }

  /** The same, as an advert says it. A context that is loading is stored. */
  advertised(): AdvertContext[] {
    return this.list().map(
      ({
        contextId,
        names,
        tier,
        share,
        bytes,
        isFetching,
        isBusy,
        numericClass,
        tokensPerSecond,
        loadMs,
      }) => ({
        contextId,
        name: names[0] ?? '',
        tier: tier === 'loading' ? 'stored' : tier,
        bytes,
        ...(tier === 'partial' ? { share, isFetching } : {}),
        ...(isBusy ? { isBusy } : {}),
        ...(numericClass === undefined
          ? {}
          : { numericClass: numericClass.slice(0, NUMERIC_CLASS_CHARACTERS_MAX) }),
        ...(tokensPerSecond === undefined ? {} : { tokensPerSecond: Math.round(tokensPerSecond) }),
        ...(loadMs === undefined ? {} : { loadMs: Math.round(loadMs) }),
      }),
    )
  }

  /** The same, for counting copies. */
  own(): OwnContext[] {
    return this.list().map(({ contextId, tier, share, bytes, isFetching, isBusy }) => ({
      contextId,
      tier: tier === 'loading' ? 'stored' : tier,
      share,
      bytes,
      isFetching: isFetching && tier === 'partial',
      isBusy,
    }))
  }

  *#wanted(): Generator<string> {
    for (const { contextId, tier } of this.list()) {
      if (tier === 'partial') continue
      yield `stored ${contextId}`
      if (tier === 'warm') yield `warm ${contextId}`
    }
  }

  #say(verb: 'provide' | 'withdraw', said: string): void {
    const [tier, contextId] = said.split(' ') as [ProvidedTier, string]
    if (verb === 'provide') this.#provided.add(said)
    else this.#provided.delete(said)
    this.#components.routing[verb](contextId, tier).catch((error: unknown) => {
      this.#components.log.warn(
        { contextId, tier, error: messageOf(error) },
        'the DHT could not be told of a context',
      )
    })
  }
}

function shareOf(tier: ContextTier): number {
  if (tier.kind === 'stored') return 1
  return tier.kind === 'partial' ? tier.share : 0
}
