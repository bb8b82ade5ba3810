import { type Cancel, type Clock, every } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { Turns } from '../../base/waiting/turns.ts'
import { type Candidate, type Holding, planCollection } from './core/collection.ts'
import type { ContextStore } from '../store/context-store.ts'
import { type Copies, whyNotDropped } from '../store/copies.ts'
import type { DecisionCode, DecisionSink } from '../history/decisions.ts'

/** How often the store is held against its bounds when nothing is stored, ms. */
const LOOK_EVERY_MS = 600_000

export interface CollectorComponents {
  store: ContextStore
  copies: Copies
  /** Why a context cannot go now: it is loaded, fetched or served; undefined when it can. */
  whyInUse: (contextId: string) => string | undefined
  decisions: DecisionSink
  clock: Clock
  log: Logger
}

/** Keeps the store within its bounds: the shell of core/collection. One collection at a time. */
export class Collector {
  readonly #components: CollectorComponents
  readonly #turns = new Turns()
  #cancel: Cancel = () => {}

  constructor(components: CollectorComponents) {
    this.#components = components
  }

  start(): void {
    const { store, clock, log } = this.#components
    store.room.onShortage = ({ bytes }, signal) => this.free(bytes, signal)
    this.#cancel = every(clock, LOOK_EVERY_MS, () => {
      this.#look().catch((error: unknown) =>
        log.warn({ error: messageOf(error) }, 'the store was not checked'),
      )
    })
  }

  async stop(): Promise<void> {
    this.#cancel()
    this.#components.store.room.onShortage = async () => {}
    await this.#turns.settled()
  }

  /** Drops what is worth least until `bytes` are given back, or nothing else may go. */
  async free(bytes: number, signal?: AbortSignal): Promise<void> {
    await this.#turns.run(() => this.#free(bytes, signal))
  }

  /**
   * Removes a context because its owner says so. Unless forced, throws `context-kept` when it is in use,
   * or when no other peer is known to have all of it.
   */
  async remove(contextId: string, { force }: { force: boolean }): Promise<void> {
    const { store } = this.#components
    const entry = store.entry(contextId)
    if (entry === undefined)
      throw new HearthError(
        'context-unknown',
        `this peer has no part of ${contextId}, so there is nothing to remove. Run "hearth context ls" to see what it has`,
      )
    const words = force || entry.tier.kind === 'absent' ? undefined : this.#whyNotRemove(contextId)
    if (words !== undefined) {
      const message = `${contextId} is kept: ${words}. Add --force to remove it anyway`
      throw new HearthError('context-kept', message, { data: { contextId } })
    }
    await store.remove(contextId)
    this.#note('removed', contextId, force ? 'its owner removed it with --force' : 'its owner removed it')
  }

  async #look(): Promise<void> {
    const shortage = await this.#components.store.room.shortage(0)
    if (shortage !== undefined) await this.free(shortage.bytes)
  }

  async #free(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    const { store, clock } = this.#components
    const usedBefore = (await store.room.usage()).usedBytes
    const { candidates, kept } = planCollection(this.#holdings(), clock.wallMs())
    for (const { contextId, words } of kept) this.#note('kept', contextId, words)
    for (const candidate of candidates) {
      signal?.throwIfAborted()
      if (usedBefore - (await store.room.usage()).usedBytes >= bytes) return
      if (candidate.bytes > 0) await this.#drop(candidate)
    }
  }

  /** Looked at again right before the drop: much may have changed since the plan. */
  async #drop({ contextId, words }: Candidate): Promise<void> {
    const { store, log } = this.#components
    const why = store.memory.get(contextId).isPinned ? 'it is pinned' : this.#whyStay(contextId)
    if (why !== undefined) return this.#note('kept', contextId, why)
    await store.remove(contextId)
    this.#note('collected', contextId, `room was needed, but ${words}`)
    log.info({ contextId, words }, 'context dropped to make room')
  }

  #whyStay(contextId: string): string | undefined {
    const { copies, whyInUse } = this.#components
    return whyInUse(contextId) ?? whyNotDropped(copies.mayDrop(contextId))
  }

  /** The owner may drop what others count on, but is told when there are no others. */
  #whyNotRemove(contextId: string): string | undefined {
    const { copies, whyInUse } = this.#components
    const { others } = copies.mayDrop(contextId)
    return whyInUse(contextId) ?? whyNotDropped({ may: true, others })
  }

  #holdings(): Holding[] {
    const { store, copies } = this.#components
    return store.list().flatMap(({ contextId, tier, isPinned, usedAtMs }) => {
      const files = store.held(contextId)?.heldFiles()
      if (files === undefined || tier.kind === 'absent') return []
      return {
        contextId,
        isWhole: tier.kind === 'stored',
        files: [...files].map(([key, bytes]) => ({ key, bytes })),
        isPinned,
        use: this.#whyStay(contextId),
        usedAtMs,
        replicas: copies.mayDrop(contextId).others,
      }
    })
  }

  #note(code: DecisionCode, contextId: string, words: string): void {
    this.#components.decisions.note({ contextId, by: 'store', code, words })
  }
}
