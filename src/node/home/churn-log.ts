import type { Cancel } from '../../base/clock.ts'
import type { EventSink } from '../../base/log/event-log.ts'
import type { AdvertBoard } from '../../dht/advert/advert-board.ts'
import type { Advert } from '../../dht/advert/advert.ts'

/** The churn log: docs/protocol/churn-log.md. `settledMs`: peers seen earlier than this joined before the log began. */
export const CHURN_LOG_SCHEMA: { log: 'hearth-churn'; version: 1; settledMs: number } = {
  log: 'hearth-churn',
  version: 1,
  settledMs: 60_000,
}

export interface ChurnLogComponents {
  board: Pick<AdvertBoard, 'known' | 'onChange' | 'onLost'>
  sink: EventSink
}

/**
 * Records when other serving peers join and leave and where they store each context, as this peer sees it.
 * `hearth sim fit` fits churn models to it. Peers that only submit are left out.
 */
export class ChurnLog {
  readonly #components: ChurnLogComponents
  /** The last advertised tier by context, for each peer that is up. The board bounds how many. */
  readonly #tiers = new Map<string, Map<string, string>>()
  #cancels: Cancel[] = []

  constructor(components: ChurnLogComponents) {
    this.#components = components
  }

  start(): void {
    const { board } = this.#components
    for (const advert of board.known()) this.#see(advert)
    this.#cancels = [
      board.onChange((advert) => this.#see(advert)),
      board.onLost((peer) => {
        if (this.#tiers.delete(peer)) this.#components.sink.add({ kind: 'down', peer })
      }),
    ]
  }

  /** Ends the log: peers that are up now were up until this moment. */
  stop(): void {
    for (const cancel of this.#cancels) cancel()
    this.#cancels = []
    this.#components.sink.add({ kind: 'end' })
  }

  #see({ peer, contexts, serving }: Advert): void {
    if (serving.reason === 'submit-only') return
    const { sink } = this.#components
    const before = this.#tiers.get(peer)
    if (before === undefined) sink.add({ kind: 'up', peer })
    const now = new Map(contexts.map(({ contextId, tier }) => [contextId, tier]))
    for (const [contextId, tier] of now)
      if (before?.get(contextId) !== tier) sink.add({ kind: 'tier', peer, contextId, tier })
    for (const contextId of before?.keys() ?? [])
      if (!now.has(contextId)) sink.add({ kind: 'tier', peer, contextId, tier: 'absent' })
    this.#tiers.set(peer, now)
  }
}
