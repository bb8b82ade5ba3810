import type { Random } from '../../src/base/random.ts'
import type { Sessions } from './churn-model.ts'
import { meanOf, sample, sampleResidual } from './distribution.ts'
import { endUnder, type Rhythm } from './rhythm.ts'

/** How a peer's session ends, decided when it begins so that a notice can come before. */
export interface SessionEnd {
  atMs: number
  kind: 'down' | 'freeze'
  noticeAtMs: number | undefined
  isForEver: boolean
  isDiskKept: boolean
}

/** With a rhythm there is no closed form of the state at time 0: churn goes on unseen for so long before. */
const BURN_IN_MS: number = 14 * 24 * 3_600_000

/** Draws the sessions and absences of one peer after one another, from a stream of its own. */
export class SessionProcess {
  readonly #sessions: Sessions
  readonly #random: Random
  readonly #leaving: Rhythm | undefined
  readonly #returning: Rhythm | undefined

  constructor(sessions: Sessions, random: Random) {
    this.#sessions = sessions
    this.#random = random
    if (sessions.rhythm === undefined) return
    const { offsetsHours, ...rhythm } = sessions.rhythm
    const offsetHours = offsetsHours[Math.floor(random.next() * offsetsHours.length)] ?? 0
    this.#leaving = { ...rhythm, offsetHours }
    this.#returning = {
      ...this.#leaving,
      peakHour: (rhythm.peakHour + 12) % 24,
      weekendRatio: 1 / rhythm.weekendRatio,
    }
  }

  /** Whether the peer is up at time 0, and when that ends. */
  atStart(): { isUp: boolean; untilMs: number } {
    const { start } = this.#sessions
    if (start !== 'stationary') {
      const isUp = start === 'all-up'
      return { isUp, untilMs: this.#end(isUp, 0, this.#draw(isUp)) }
    }
    const fromMs = this.#leaving === undefined ? 0 : -BURN_IN_MS
    let isUp = this.#random.next() < availabilityOf(this.#sessions)
    const { up, down } = this.#sessions
    let untilMs = this.#end(isUp, fromMs, sampleResidual(isUp ? up : down, this.#random))
    while (untilMs < 0) {
      isUp = !isUp
      untilMs = this.#end(isUp, untilMs, this.#draw(isUp))
    }
    return { isUp, untilMs }
  }

  /** How a session that begins at `fromMs` ends; one that is known to end at `untilMs` ends then. */
  sessionEnd(fromMs: number, untilMs: number = this.#end(true, fromMs, this.#draw(true))): SessionEnd {
    const { noticeMs, noticeShare, freezeShare, forEverShare, wipeShare } = this.#sessions.departure
    // All are drawn always: one share changed must not move the other draws.
    const isFrozen = this.#random.next() < freezeShare
    const isForEver = this.#random.next() < forEverShare
    const hasNotice = this.#random.next() < noticeShare
    const isWiped = this.#random.next() < wipeShare
    return {
      atMs: untilMs,
      kind: isFrozen ? 'freeze' : 'down',
      noticeAtMs: hasNotice && !isFrozen ? Math.max(fromMs, untilMs - noticeMs) : undefined,
      isForEver: isForEver && !isFrozen,
      isDiskKept: isFrozen || !isWiped,
    }
  }

  /** When an absence that begins at `fromMs` ends. */
  returnAfter(fromMs: number): number {
    return this.#end(false, fromMs, this.#draw(false))
  }

  #draw(isUp: boolean): number {
    return sample(isUp ? this.#sessions.up : this.#sessions.down, this.#random)
  }

  #end(isUp: boolean, fromMs: number, lengthMs: number): number {
    const rhythm = isUp ? this.#leaving : this.#returning
    return rhythm === undefined ? fromMs + lengthMs : endUnder(rhythm, fromMs, lengthMs)
  }
}

/** The share of time that a peer is up in the long run: mean session over mean cycle. */
function availabilityOf({ up, down }: Pick<Sessions, 'up' | 'down'>): number {
  const mean = meanOf(up)
  return mean / (mean + meanOf(down))
}
