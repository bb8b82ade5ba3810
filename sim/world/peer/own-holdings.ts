import type { SaidContext } from '../../../src/context-sharing/replication/core/replication-events.ts'
import type { OwnHolding } from '../../../src/context-sharing/replication/core/replication-state.ts'
import { SHARE_STEP } from '../../../src/context-sharing/store/timings.ts'
import type { Host } from '../swarm/host.ts'

const ABSENT: OwnHolding = { tier: 'absent', share: 0, isFetching: false, isBusy: false }

interface Names {
  readonly contextBytes: number
  readonly scenario: { readonly contexts: { readonly count: number } }
  contextId(context: number): string
}

/** The contexts of a peer, as it last advertised them. */
export class OwnHoldings {
  readonly #names: Names
  readonly #peer: { readonly host: Host; isWarm(context: number): boolean }
  readonly #held = new Map<number, OwnHolding>()
  /** Contexts that jobs use, by their sessions. */
  readonly busy: Map<string, number> = new Map<string, number>()

  constructor(names: Names, peer: { readonly host: Host; isWarm(context: number): boolean }) {
    this.#names = names
    this.#peer = peer
  }

  clear(): void {
    this.#held.clear()
    this.busy.clear()
  }

  /** The changes of a context since the last call, and whether an advert tells them. */
  look(context: number): { holding: OwnHolding; isToTell: boolean } | undefined {
    const before = this.#held.get(context) ?? ABSENT
    const holding = this.#holdingOf(context)
    const isSame = before.share === holding.share && !hasTurned(before, holding)
    if (isSame) return undefined
    if (holding.tier === 'absent') this.#held.delete(context)
    else this.#held.set(context, holding)
    const step = ({ share }: OwnHolding): number => Math.floor(share / SHARE_STEP)
    return { holding, isToTell: hasTurned(before, holding) || step(before) !== step(holding) }
  }

  fetching(): number[] {
    return [...this.#held].filter(([, { isFetching }]) => isFetching).map(([context]) => context)
  }

  /** As an advert has it. */
  said(): SaidContext[] {
    return [...this.#held].map(([context, { tier, share, isFetching, isBusy }]) => ({
      contextId: this.#names.contextId(context),
      tier: tier === 'absent' ? 'partial' : tier,
      share,
      bytes: this.#names.contextBytes,
      isFetching,
      isBusy,
    }))
  }

  /** As the advert of a peer has it that says it has all, and has nothing. */
  lies(): SaidContext[] {
    return Array.from({ length: this.#names.scenario.contexts.count }, (_, context) => ({
      contextId: this.#names.contextId(context),
      tier: 'stored',
      bytes: this.#names.contextBytes,
    }))
  }

  #holdingOf(context: number): OwnHolding {
    const { host } = this.#peer
    const shelf = host.shelf(context)
    const isBusy = [...this.busy.values()].includes(context)
    if (shelf?.isWhole === true) {
      const tier = this.#peer.isWarm(context) ? 'warm' : 'stored'
      return { tier, share: 1, isFetching: false, isBusy }
    }
    const isFetching = host.fetches.has(context)
    const share = shelf === undefined ? 0 : shelf.chunks.count / shelf.chunks.size
    return { tier: share > 0 || isFetching ? 'partial' : 'absent', share, isFetching, isBusy }
  }
}

/** Whether anything but its growth has changed. */
function hasTurned(before: OwnHolding, now: OwnHolding): boolean {
  return before.tier !== now.tier || before.isFetching !== now.isFetching || before.isBusy !== now.isBusy
}
