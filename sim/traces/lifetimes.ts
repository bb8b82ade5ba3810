import { survival, type Law } from '../churn/distribution.ts'
import type { Spell } from './trace.ts'

/** How long something lasted: to its end, or for at least so long (`isEnded` false: it was cut off). */
export interface Lifetime {
  length: number
  isEnded: boolean
}

/** The lengths of the spells that began in sight, in units of `unitMs`. */
export function lifetimesOf(spells: readonly Spell[], isUp: boolean, unitMs: number): Lifetime[] {
  return spells
    .filter((spell) => spell.isUp === isUp && spell.isStartSeen && spell.toMs > spell.fromMs)
    .map(({ fromMs, toMs, isEndSeen }) => ({ length: (toMs - fromMs) / unitMs, isEnded: isEndSeen }))
}

/** One step of a survival curve: from `at` on, the share `alive` of them lasts longer. */
export interface SurvivalStep {
  at: number
  alive: number
}

/** Kaplan and Meier's estimate of the survival curve, which takes those cut off for what is known of them. */
export function survivalCurve(lifetimes: readonly Lifetime[]): SurvivalStep[] {
  const sorted = lifetimes.toSorted((a, b) => a.length - b.length)
  const steps: SurvivalStep[] = []
  let alive = 1
  for (let index = 0; index < sorted.length;) {
    const at = sorted[index]?.length ?? 0
    const atRisk = sorted.length - index
    let ended = 0
    for (; sorted[index]?.length === at; index += 1) if (sorted[index]?.isEnded === true) ended += 1
    if (ended === 0) continue
    alive *= 1 - ended / atRisk
    steps.push({ at, alive })
  }
  return steps
}

/** ln of the chance that a law gives what was seen: its density where the end was seen, else its survival. */
export function logLikelihood(law: Law, lifetimes: readonly Lifetime[]): number {
  return lifetimes.reduce(
    (sum, { length, isEnded }) => sum + (isEnded ? logDensity(law, length) : Math.log(survival(law, length))),
    0,
  )
}

function logDensity(law: Law, x: number): number {
  switch (law.kind) {
    case 'constant':
      return x === law.value ? 0 : -Infinity
    case 'exponential':
      return -Math.log(law.mean) - x / law.mean
    case 'weibull': {
      const { shape, scale } = law
      return Math.log(shape / scale) + (shape - 1) * Math.log(x / scale) - (x / scale) ** shape
    }
    case 'log-normal': {
      const z = (Math.log(x) - law.mu) / law.sigma
      return -0.5 * z * z - Math.log(x * law.sigma * Math.sqrt(2 * Math.PI))
    }
    default:
      return Math.log(
        law.phases.reduce((sum, { share, mean }) => sum + (share / mean) * Math.exp(-x / mean), 0),
      )
  }
}
