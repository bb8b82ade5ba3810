import { HearthError, messageOf } from '../../base/errors.ts'
import type { ContextSharing } from '../context-sharing.ts'
import type { ContextStore } from '../store/context-store.ts'
import type { DecisionSink } from '../history/decisions.ts'
import type { FetchPriority } from '../wire/messages.ts'
import type { PullReason } from './core/replication-state.ts'

export interface SparePullsComponents {
  store: ContextStore
  sharing: ContextSharing
  decisions: DecisionSink
}

/** How a pull ended, and whether any chunk arrived. */
export type OnPulled = (
  contextId: string,
  outcome: 'stored' | 'failed' | 'cancelled',
  hasGrown: boolean,
) => void

/** Fetches of spare copies that are under way. */
export class SparePulls {
  readonly #components: SparePullsComponents
  readonly #onPulled: OnPulled
  readonly #pulls = new Map<string, AbortController>()

  constructor(components: SparePullsComponents, onPulled: OnPulled) {
    this.#components = components
    this.#onPulled = onPulled
  }

  begin(contextId: string, why: PullReason): void {
    const pull = new AbortController()
    this.#pulls.set(contextId, pull)
    void this.#pull(contextId, priorityOf(why), pull.signal)
  }

  cancel(contextId: string): void {
    this.#pulls.get(contextId)?.abort(new HearthError('stream-closed', 'the copy is no longer needed'))
  }

  cancelAll(): void {
    for (const contextId of this.#pulls.keys()) this.cancel(contextId)
  }

  async #pull(contextId: string, priority: FetchPriority, signal: AbortSignal): Promise<void> {
    const before = this.#heldBytes(contextId)
    const outcome = await this.#fetch(contextId, priority, signal)
    this.#pulls.delete(contextId)
    this.#onPulled(contextId, outcome, this.#heldBytes(contextId) > before)
  }

  async #fetch(
    contextId: string,
    priority: FetchPriority,
    signal: AbortSignal,
  ): Promise<'stored' | 'failed' | 'cancelled'> {
    const { sharing, decisions } = this.#components
    try {
      const { bytesTotal, sources } = await sharing.fetch(contextId, { priority, signal })
      const words = `${bytesTotal} bytes, from ${sources.length} peers`
      decisions.note({ contextId, by: 'replication', code: 'copy-made', words })
      return 'stored'
    } catch (error) {
      if (signal.aborted) return 'cancelled'
      decisions.note({ contextId, by: 'replication', code: 'copy-failed', words: messageOf(error) })
      return 'failed'
    }
  }

  #heldBytes(contextId: string): number {
    return this.#components.store.held(contextId)?.heldBytes ?? 0
  }
}

/** A context that might be lost gets a higher priority than a spare copy, whose share of an uplink is small. */
function priorityOf(why: PullReason): FetchPriority {
  return why === 'urgent' || why === 'drain' ? 'normal' : 'background'
}
