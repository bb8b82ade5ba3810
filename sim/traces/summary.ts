import { fitAll, type Fit } from './fit.ts'
import { lifetimesOf } from './lifetimes.ts'
import { lossSizes, spellsOf, type Trace } from './trace.ts'
import { quantile } from '../statistics/summary.ts'

/** A summary of a traced fleet. All times are in hours. */
export interface TraceSummary {
  peers: number
  hours: number
  /** The share of the time in which peers were seen, that they were up. */
  availability: number
  sessions: SpellSummary
  absences: SpellSummary
  losses: {
    /** How often one that is up is lost. */
    perPeerHour: number
    /** How many went at one moment: within the time given. */
    sizeMedian: number
    size90: number
    sizeMax: number
  }
}

export interface SpellSummary {
  /** Those that began in sight, and how many of them were seen to end. */
  count: number
  ended: number
  /** Best first; none where too few ended. */
  fits: Fit[]
}

const HOUR_MS = 3_600_000

/** Fits a trace. Peers that are lost at most `togetherMs` apart count as lost at one moment. */
export function summarise(trace: Trace, togetherMs: number): TraceSummary {
  const spells = spellsOf(trace)
  const time = (isUp: boolean): number =>
    spells.filter((spell) => spell.isUp === isUp).reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0)
  const [upMs, downMs] = [time(true), time(false)]
  const sizes = lossSizes(trace, togetherMs)
  return {
    peers: new Set(trace.events.map(({ peer }) => peer)).size,
    hours: trace.endMs / HOUR_MS,
    availability: upMs / (upMs + downMs),
    sessions: spellSummary(spells, true),
    absences: spellSummary(spells, false),
    losses: {
      perPeerHour: sizes.reduce((sum, size) => sum + size, 0) / (upMs / HOUR_MS),
      sizeMedian: quantile(sizes, 0.5),
      size90: quantile(sizes, 0.9),
      sizeMax: Math.max(0, ...sizes),
    },
  }
}

function spellSummary(spells: ReturnType<typeof spellsOf>, isUp: boolean): SpellSummary {
  const lifetimes = lifetimesOf(spells, isUp, HOUR_MS)
  return {
    count: lifetimes.length,
    ended: lifetimes.filter(({ isEnded }) => isEnded).length,
    fits: fitAll(lifetimes),
  }
}
