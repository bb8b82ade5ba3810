// Decides when a context is refused because its engine is killed again and again. Pure: every call passes the time.

export interface KillGuardLimits {
  /** Kills without an answer between them. */
  killsInRowMax: number
  /** How long the context is refused then, ms. */
  refuseMs: number
}

export const KILL_GUARD_DEFAULTS: KillGuardLimits = { killsInRowMax: 3, refuseMs: 3_600_000 }

export class KillGuard {
  readonly #limits: KillGuardLimits
  #killsInRow = 0
  #refusal: { why: string; untilMs: number } | undefined

  constructor(limits: KillGuardLimits = KILL_GUARD_DEFAULTS) {
    this.#limits = limits
  }

  /** The process was killed for its memory, or crashed while it loaded. */
  killed(why: string, nowMs: number): void {
    const { killsInRowMax, refuseMs } = this.#limits
    this.#killsInRow += 1
    if (this.#killsInRow < killsInRowMax) return
    this.#killsInRow = 0
    this.#refusal = {
      why: `the engine of this context was killed ${killsInRowMax} times in a row, so this peer refuses it for ${refuseMs / 60_000} min: ${why}`,
      untilMs: nowMs + refuseMs,
    }
  }

  answered(): void {
    this.#killsInRow = 0
  }

  /** Why the context is refused; undefined when it is not. */
  refusal(nowMs: number): string | undefined {
    if (this.#refusal !== undefined && nowMs >= this.#refusal.untilMs) this.#refusal = undefined
    return this.#refusal?.why
  }
}
