// Decides which contexts are loaded: what makes room for what, under a bound on memory and on number.
// Pure. A context in use is never unloaded; of the idle ones, the one goes whose return is the least
// costly and the least likely, and none goes that has only just come.

export interface ResidencyOptions {
  /** Contexts loaded at once. */
  contextsMax: number
  /** Memory of all that are loaded, bytes. */
  memoryBytesMax: number
  /** Having been used this recently, a context makes room only when nothing else does, ms. */
  keepMs: number
}

export interface ResidentContext {
  contextId: string
  memoryBytes: number
  /** What bringing it back would take, ms. */
  loadMs: number
  usedMs: number
  /** Uses that have not ended. */
  uses: number
}

export type Admission =
  /** Load it, once these are unloaded. */
  | { kind: 'admit'; evict: string[] }
  /** It is there, or on its way. */
  | { kind: 'present' }
  /** Not now: what is in use takes the room. Worth asking again when a use has ended. */
  | { kind: 'busy' }
  /** Never: it alone is over the bound. */
  | { kind: 'too-large' }

export class Residency {
  readonly #options: ResidencyOptions
  readonly #contexts = new Map<string, ResidentContext>()

  constructor(options: ResidencyOptions) {
    for (const [name, value] of Object.entries(options)) {
      if (!(value >= (name === 'keepMs' ? 0 : 1))) throw new RangeError(`${name} is too small: ${value}`)
    }
    this.#options = options
  }

  list(): ResidentContext[] {
    return [...this.#contexts.values()].map((context) => ({ ...context }))
  }

  get memoryBytes(): number {
    let bytes = 0
    for (const context of this.#contexts.values()) bytes += context.memoryBytes
    return bytes
  }

  /**
   * Begins a use of a context, loaded for it if need be. `memoryBytes` is an estimate, made true by
   * `loaded`. Those to be evicted count as gone from now on.
   */
  acquire(contextId: string, memoryBytes: number, nowMs: number): Admission {
    const present = this.#contexts.get(contextId)
    if (present !== undefined) {
      present.uses += 1
      present.usedMs = nowMs
      return { kind: 'present' }
    }
    if (memoryBytes > this.#options.memoryBytesMax) return { kind: 'too-large' }
    const evict = this.#makeRoom(memoryBytes, nowMs)
    if (evict === undefined) return { kind: 'busy' }
    for (const gone of evict) this.#contexts.delete(gone)
    this.#contexts.set(contextId, { contextId, memoryBytes, loadMs: 0, usedMs: nowMs, uses: 1 })
    return { kind: 'admit', evict }
  }

  /** Ends a use. */
  release(contextId: string, nowMs: number): void {
    const context = this.#contexts.get(contextId)
    if (context === undefined || context.uses === 0) return
    context.uses -= 1
    context.usedMs = nowMs
  }

  /** What loading took, and what the process holds. */
  loaded(contextId: string, measured: { memoryBytes: number; loadMs: number }): void {
    const context = this.#contexts.get(contextId)
    if (context !== undefined) Object.assign(context, measured)
  }

  /** It was unloaded, or could not be loaded. */
  remove(contextId: string): void {
    this.#contexts.delete(contextId)
  }

  /** Idle contexts to unload so that what is loaded is within the bound again, after a process has grown. */
  trim(nowMs: number): string[] {
    const evict = this.#makeRoom(0, nowMs, 0) ?? this.#idle(nowMs).map(({ contextId }) => contextId)
    for (const gone of evict) this.#contexts.delete(gone)
    return evict
  }

  /** The idle contexts whose going makes room, as few as will do; undefined when they do not. */
  #makeRoom(memoryBytes: number, nowMs: number, places = 1): string[] | undefined {
    const { contextsMax, memoryBytesMax } = this.#options
    let bytes = this.memoryBytes + memoryBytes
    let count = this.#contexts.size + places
    const evict: ResidentContext[] = []
    for (const idle of this.#idle(nowMs)) {
      if (bytes <= memoryBytesMax && count <= contextsMax) break
      evict.push(idle)
      bytes -= idle.memoryBytes
      count -= 1
    }
    if (bytes > memoryBytesMax || count > contextsMax) return undefined
    return this.#spare(evict, memoryBytesMax - bytes, contextsMax - count).map(({ contextId }) => contextId)
  }

  /** Without those that, the others gone, could have stayed after all. */
  #spare(evict: ResidentContext[], freeBytes: number, freePlaces: number): ResidentContext[] {
    let [bytes, places] = [freeBytes, freePlaces]
    return evict.toReversed().filter(({ memoryBytes }) => {
      if (memoryBytes > bytes || places < 1) return true
      bytes -= memoryBytes
      places -= 1
      return false
    })
  }

  /** Those that may go, the first to go first: recently used ones last, then by idle time for each ms of loading. */
  #idle(nowMs: number): ResidentContext[] {
    const { keepMs } = this.#options
    const rank = (context: ResidentContext): [recent: number, worth: number] => {
      const idleMs = Math.max(0, nowMs - context.usedMs)
      return [idleMs < keepMs ? 1 : 0, -idleMs / Math.max(1, context.loadMs)]
    }
    const idle = [...this.#contexts.values()].filter(({ uses }) => uses === 0)
    return idle.sort((left, right) => {
      const [[leftRecent, leftWorth], [rightRecent, rightWorth]] = [rank(left), rank(right)]
      return leftRecent - rightRecent || leftWorth - rightWorth || (left.contextId < right.contextId ? -1 : 1)
    })
  }
}
