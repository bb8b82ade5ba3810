// Decides when to kill an engine process. Pure: every call passes the time.

export interface WatchdogLimits {
  /** From fork to loaded, ms. */
  loadMsMax: number
  /** From handing a run to the child to its answer, ms. */
  runMsMax: number
  /** Without any message, ms: longer than the longest step of a model. Loading is exempt. */
  silenceMsMax: number
  /** Resident memory of the child, bytes; Infinity for no bound. */
  residentBytesMax: number
}

export class Watchdog {
  readonly #limits: WatchdogLimits
  readonly #startedMs: number
  /** Start time of each run; the first is the oldest. */
  readonly #begunMs = new Map<number, number>()
  #isLoading = true
  #heardMs: number
  #residentBytes = 0
  #complaint: string | undefined

  constructor(limits: WatchdogLimits, nowMs: number) {
    this.#limits = limits
    this.#startedMs = nowMs
    this.#heardMs = nowMs
  }

  loaded(): void {
    this.#isLoading = false
  }

  begin(run: number, nowMs: number): void {
    this.#begunMs.set(run, nowMs)
  }

  end(run: number): void {
    this.#begunMs.delete(run)
  }

  hear(nowMs: number): void {
    this.#heardMs = nowMs
  }

  get residentBytes(): number {
    return this.#residentBytes
  }

  setResidentBytes(residentBytes: number): void {
    this.#residentBytes = residentBytes
  }

  /**
   * Why the process must be killed, or undefined. A complaint has to be true in two checks on end:
   * after a pause of our own (a suspended laptop), the child's messages are still on their way.
   */
  check(nowMs: number): string | undefined {
    const before = this.#complaint
    this.#complaint = this.#complain(nowMs)
    return before === undefined ? undefined : this.#complaint
  }

  #complain(nowMs: number): string | undefined {
    const { loadMsMax, runMsMax, silenceMsMax, residentBytesMax } = this.#limits
    if (this.#residentBytes > residentBytesMax) {
      return `the engine process uses ${this.#residentBytes} bytes of memory, over its limit of ${residentBytesMax}`
    }
    if (this.#isLoading) {
      return nowMs - this.#startedMs > loadMsMax ? `loading took longer than ${loadMsMax} ms` : undefined
    }
    if (nowMs - this.#heardMs > silenceMsMax) return `the engine process was silent for ${silenceMsMax} ms`
    const [oldestMs] = this.#begunMs.values()
    return oldestMs !== undefined && nowMs - oldestMs > runMsMax
      ? `a run took longer than ${runMsMax} ms`
      : undefined
  }
}
