import { invert } from '../statistics/special-functions.ts'

/** How a rate follows the day and the week, in the local time of a peer. */
export interface Rhythm {
  /** How far the rate swings about its mean over a day, in [0, 1). */
  dailySwing: number
  /** The local hour of the day at which the rate is highest, in [0, 24). */
  peakHour: number
  /** The rate at a weekend over that on a working day. Simulated time begins on Monday, 0:00 UTC. */
  weekendRatio: number
  /** Local time minus UTC, hours. */
  offsetHours: number
}

export const HOUR_MS = 3_600_000
const DAY_HOURS = 24
const WEEK_HOURS: number = 7 * DAY_HOURS
const WORKING_HOURS: number = 5 * DAY_HOURS

/**
 * When something that is to last `lengthMs` at the mean rate ends, if it begins at `fromMs` and the
 * rate of its ending follows `rhythm`: operational time, so that the law of the lengths is kept.
 */
export function endUnder(rhythm: Rhythm, fromMs: number, lengthMs: number): number {
  if (rhythm.dailySwing === 0 && rhythm.weekendRatio === 1) return fromMs + lengthMs
  const start = fromMs / HOUR_MS + rhythm.offsetHours
  const wanted = cumulative(rhythm, start) + lengthMs / HOUR_MS
  // Over any week the rate averages 1, so the end is within a week of where it would be without rhythm.
  const about = start + lengthMs / HOUR_MS
  const end = invert(
    (hour) => cumulative(rhythm, hour),
    wanted,
    Math.max(start, about - WEEK_HOURS),
    about + WEEK_HOURS,
  )
  return (end - rhythm.offsetHours) * HOUR_MS
}

/** The working-day factor is set so that a whole week averages 1. */
function workingFactor({ weekendRatio }: Rhythm): number {
  return 7 / (5 + 2 * weekendRatio)
}

function dayFactor(rhythm: Rhythm, hour: number): number {
  const hourOfWeek = ((hour % WEEK_HOURS) + WEEK_HOURS) % WEEK_HOURS
  return workingFactor(rhythm) * (hourOfWeek < WORKING_HOURS ? 1 : rhythm.weekendRatio)
}

/** ∫ of the rate from hour 0 to `hour`. Each day integrates to 24 × its factor, whatever the swing. */
function cumulative(rhythm: Rhythm, hour: number): number {
  const day = Math.floor(hour / DAY_HOURS)
  const week = Math.floor(day / 7)
  const dayOfWeek = day - week * 7
  const working =
    workingFactor(rhythm) * (Math.min(dayOfWeek, 5) + rhythm.weekendRatio * Math.max(0, dayOfWeek - 5))
  const into = hour - day * DAY_HOURS
  return (
    week * WEEK_HOURS + DAY_HOURS * working + dayFactor(rhythm, day * DAY_HOURS) * withinDay(rhythm, into)
  )
}

function withinDay({ dailySwing, peakHour }: Rhythm, hours: number): number {
  const turn = (2 * Math.PI) / DAY_HOURS
  return hours + (dailySwing / turn) * (Math.sin((hours - peakHour) * turn) + Math.sin(peakHour * turn))
}
