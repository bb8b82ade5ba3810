import { type Cancel, type Clock, every } from '../base/clock.ts'
import { HearthError, messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { type Candidate, type Holding, lastCopyWords, planCollection } from './collection-core.ts'
import type { ContextStore } from './context-store.ts'
import type { Copies } from './copies.ts'
import type { DecisionCode, DecisionSink } from './decisions.ts'

/** How often the store is held against its bounds when nothing is stored, ms. */
const LOOK_EVERY_MS = 600_000

export interface CollectorComponents {
  /** This peer's id. */
  self: string
  store: ContextStore
  copies: Copies
  /** Why a context cannot go now: it is loaded, fetched or served; undefined when it can. */
  whyInUse: (contextId: string) => string | undefined
  decisions: DecisionSink
  clock: Clock
  log: Logger
}

/** Keeps the store within its bounds: the shell of collection-core. One collection at a time. */
export class Collector {
  readonly #components: CollectorComponents
  readonly #stop = new AbortController()
  #turn: Promise<unknown> = Promise.resolve()
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
    this.#stop.abort(new HearthError('stream-closed', 'this peer is stopping'))
    await this.#turn
  }

  /** Drops what is worth least until `bytes` are given back, or nothing else may go. */
  async free(bytes: number, signal?: AbortSignal): Promise<void> {
    const work = this.#turn.then(() => this.#free(bytes, this.#signal(signal)))
    this.#turn = work.catch(() => {})
    await work
  }

  /**
   * Removes a context because its owner says so. Unless forced, throws `context-kept` when it is in use,
   * or when no other peer says that it has all of it.
   */
  async remove(contextId: string, options: { force: boolean; signal?: AbortSignal }): Promise<void> {
    const { store } = this.#components
    const entry = store.entry(contextId)
    if (entry === undefined) throw new HearthError('context-unknown', `nothing of ${contextId} is here`)
    if (!options.force && entry.tier.kind !== 'absent') {
      const words = await this.#whyNotRemove(contextId, this.#signal(options.signal))
      if (words !== undefined) {
        throw new HearthError(
          'context-kept',
          `${contextId} is kept: ${words}. --force removes it all the same`,
          {
            data: { contextId },
          },
        )
      }
    }
    await store.remove(contextId)
    this.#note('removed', contextId, options.force ? 'its owner forced it' : 'its owner said so')
  }

  async #look(): Promise<void> {
    const shortage = await this.#components.store.room.shortage(0)
    if (shortage !== undefined) await this.free(shortage.bytes)
  }

  async #free(bytes: number, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#components
    const usedBefore = (await store.room.usage()).usedBytes
    const { candidates, kept } = planCollection(this.#holdings(), clock.wallMs())
    for (const { contextId, words } of kept) this.#note('kept', contextId, words)
    for (const candidate of candidates) {
      if (usedBefore - (await store.room.usage()).usedBytes >= bytes) return
      if (candidate.bytes > 0) await this.#drop(candidate, signal)
    }
  }

  async #drop({ contextId, words }: Candidate, signal: AbortSignal): Promise<void> {
    const { store, log } = this.#components
    const why = await this.#whyStay(contextId, signal)
    if (why !== undefined) return this.#note('kept', contextId, why)
    await store.remove(contextId)
    this.#note('collected', contextId, `room was wanted, and ${words}`)
    log.info({ contextId, words }, 'context dropped to make room')
  }

  /** Asked right before the drop: much may have changed since the plan. */
  async #whyStay(contextId: string, signal: AbortSignal): Promise<string | undefined> {
    const { self, store, copies, whyInUse } = this.#components
    const holders = await copies.confirm(contextId, signal)
    const lastCopy = lastCopyWords(self, holders)
    const isHandedOff = lastCopy !== undefined && (await copies.handOff(contextId, signal))
    if (lastCopy !== undefined && !isHandedOff) return `${lastCopy}, and no other peer took it`
    return store.memory.get(contextId).isPinned ? 'it is pinned' : whyInUse(contextId)
  }

  async #whyNotRemove(contextId: string, signal: AbortSignal): Promise<string | undefined> {
    const { copies, whyInUse } = this.#components
    const use = whyInUse(contextId)
    if (use !== undefined) return use
    const holders = await copies.confirm(contextId, signal)
    return holders.length > 0
      ? undefined
      : 'no other peer says that it has all of it: this may be the last copy'
  }

  #holdings(): Holding[] {
    const { store, copies, whyInUse } = this.#components
    return store.list().flatMap(({ contextId, tier, isPinned, usedAtMs }) => {
      const files = store.held(contextId)?.heldFiles()
      if (files === undefined || tier.kind === 'absent') return []
      return {
        contextId,
        isWhole: tier.kind === 'stored',
        files: [...files].map(([key, bytes]) => ({ key, bytes })),
        isPinned,
        use: whyInUse(contextId),
        usedAtMs,
        replicas: copies.known(contextId),
      }
    })
  }

  #signal(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal])
  }

  #note(code: DecisionCode, contextId: string, words: string): void {
    this.#components.decisions.note({ contextId, by: 'store', code, words })
  }
}
