// How fast a context answers here: completion tokens per second of the time in which it had work.

/** What was measured this long ago counts a third (1/e), ms of work. */
const MEMORY_MS = 60_000
/** Less work than this says nothing, ms. */
const WORK_MS_MIN = 1_000

/** Time comes in with every call. */
export class RateMeter {
  #running = 0
  #atMs = 0
  /** Both fade as time goes by in which there is work. */
  #tokens = 0
  #workMs = 0

  begin(nowMs: number): void {
    this.#advance(nowMs)
    this.#running += 1
  }

  /** @param tokens that the run made; 0 when it failed. */
  end(tokens: number, nowMs: number): void {
    this.#advance(nowMs)
    this.#running = Math.max(0, this.#running - 1)
    this.#tokens += tokens
  }

  /** All runs together; undefined while there was too little work to tell. */
  tokensPerSecond(nowMs: number): number | undefined {
    this.#advance(nowMs)
    if (this.#workMs < WORK_MS_MIN || this.#tokens === 0) return undefined
    return (1_000 * this.#tokens) / this.#workMs
  }

  #advance(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - this.#atMs)
    this.#atMs = nowMs
    if (this.#running === 0) return
    const kept = Math.exp(-elapsedMs / MEMORY_MS)
    this.#tokens *= kept
    this.#workMs = this.#workMs * kept + MEMORY_MS * (1 - kept)
  }
}
