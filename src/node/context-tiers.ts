import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { ContextStore } from '../context-sharing/context-store.ts'
import type { AdvertContext } from '../dht/advert.ts'
import type { ContentRouting, ProvidedTier } from '../dht/content-routing.ts'
import type { WarmContexts } from '../inference/warm-contexts.ts'
import type { ContextPreparer } from './context-preparer.ts'
import type { ContextStatus } from './peer-status.ts'

export interface ContextTiersComponents {
  store: ContextStore
  warm: WarmContexts
  preparer: ContextPreparer
  routing: ContentRouting
  log: Logger
}

/**
 * Where each context is on this peer, said truthfully: provider records and adverts follow what the
 * store has verified and the engine hosts have loaded, and never run ahead of it.
 */
export class ContextTiers {
  readonly #components: ContextTiersComponents
  /** What the DHT has been told, as "tier contextId". */
  readonly #provided = new Set<string>()
  #onChange: () => void = () => {}
  #cancel: () => void = () => {}

  constructor(components: ContextTiersComponents) {
    this.#components = components
  }

  start(onChange: () => void): void {
    this.#onChange = onChange
    const { store, warm } = this.#components
    const cancels = [store.onTier(() => this.changed()), warm.onChange(() => this.changed())]
    this.#cancel = () => cancels.forEach((cancel) => cancel())
  }

  stop(): void {
    this.#cancel()
    this.#onChange = () => {}
    this.#provided.clear()
  }

  /** To be called when something was stored, loaded or unloaded: tells the DHT and the members. */
  changed(): void {
    const wanted = new Set(this.#wanted())
    for (const said of this.#provided) if (!wanted.has(said)) this.#say('withdraw', said)
    for (const say of wanted) if (!this.#provided.has(say)) this.#say('provide', say)
    this.#onChange()
  }

  /** Every context on this peer, with its tier. */
  list(): ContextStatus[] {
    const { store, warm, preparer } = this.#components
    const loaded = new Map(warm.list().map((context) => [context.contextId, context]))
    return store.list().map(({ contextId, names, tier, bytes }) => {
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
        share: tier.kind === 'partial' ? tier.share : 1,
        bytes,
        fetchedFrom: preparer.fetchedFrom(contextId),
        engine: host?.facts?.engine,
        slots: host?.facts?.slots,
        tokensPerSecond: preparer.tokensPerSecond(contextId),
      }
    })
  }

  /** The same, as an advert says it. A context that is loading is stored. */
  advertised(): AdvertContext[] {
    return this.list().map(({ contextId, names, tier, share, tokensPerSecond }) => ({
      contextId,
      name: names[0] ?? '',
      tier: tier === 'loading' ? 'stored' : tier,
      ...(tier === 'partial' ? { share } : {}),
      ...(tokensPerSecond === undefined ? {} : { tokensPerSecond: Math.round(tokensPerSecond) }),
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
