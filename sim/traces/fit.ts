import { survival, type Law, type Phase } from '../churn/distribution.ts'
import { invert, normalCdf, normalDensity } from '../statistics/special-functions.ts'
import { logLikelihood, survivalCurve, type Lifetime } from './lifetimes.ts'

/** A law fitted by maximum likelihood, and how well it fits. */
export interface Fit {
  law: Law
  /** Akaike's criterion: twice the parameters less twice the log-likelihood; the least is best. */
  aic: number
  /** The largest distance between the fitted survival curve and Kaplan and Meier's. */
  ksDistance: number
}

/** Fewer ends than this say nothing of a law's shape. */
export const ENDS_MIN = 10
const EM_STEPS_MAX = 2_000
const EM_TOLERANCE = 1e-9
const SHAPE_MIN = 0.02
const SHAPE_MAX = 50

/** All the laws fitted to lifetimes, the best (by AIC) first; none when too few were seen to end. */
export function fitAll(lifetimes: readonly Lifetime[]): Fit[] {
  if (lifetimes.filter(({ isEnded }) => isEnded).length < ENDS_MIN) return []
  const curve = survivalCurve(lifetimes)
  const laws = [
    { law: fitExponential(lifetimes), parameters: 1 },
    { law: fitWeibull(lifetimes), parameters: 2 },
    { law: fitLogNormal(lifetimes), parameters: 2 },
    { law: fitHyperExponential(lifetimes), parameters: 3 },
  ]
  return laws
    .map(({ law, parameters }) => ({
      law,
      aic: 2 * parameters - 2 * logLikelihood(law, lifetimes),
      ksDistance: distanceTo(law, curve),
    }))
    .sort((a, b) => a.aic - b.aic)
}

/** The mean is all the time that was seen over the ends that were. */
export function fitExponential(lifetimes: readonly Lifetime[]): Law & { kind: 'exponential' } {
  const total = lifetimes.reduce((sum, { length }) => sum + length, 0)
  return { kind: 'exponential', mean: total / lifetimes.filter(({ isEnded }) => isEnded).length }
}

/** The shape is the root of the profile likelihood's derivative, which grows with it. */
export function fitWeibull(lifetimes: readonly Lifetime[]): Law & { kind: 'weibull' } {
  const ended = lifetimes.filter(({ isEnded }) => isEnded)
  const longest = Math.max(...lifetimes.map(({ length }) => length))
  const meanLog = ended.reduce((sum, { length }) => sum + Math.log(length / longest), 0) / ended.length
  // Lengths over the longest: powers of large numbers would overflow.
  const sums = (shape: number): { powers: number; logs: number } => {
    let powers = 0
    let logs = 0
    for (const { length } of lifetimes) {
      const power = (length / longest) ** shape
      powers += power
      logs += power * Math.log(length / longest)
    }
    return { powers, logs }
  }
  const derivative = (shape: number): number => {
    const { powers, logs } = sums(shape)
    return logs / powers - 1 / shape - meanLog
  }
  const shape = invert(derivative, 0, SHAPE_MIN, SHAPE_MAX)
  return { kind: 'weibull', shape, scale: longest * (sums(shape).powers / ended.length) ** (1 / shape) }
}

/** Expectation and maximisation: what was cut off counts with the mean and square it is expected to have reached. */
export function fitLogNormal(lifetimes: readonly Lifetime[]): Law & { kind: 'log-normal' } {
  const logs = lifetimes.map(({ length, isEnded }) => ({ log: Math.log(length), isEnded }))
  let mu = logs.reduce((sum, { log }) => sum + log, 0) / logs.length
  let sigma = Math.sqrt(logs.reduce((sum, { log }) => sum + (log - mu) ** 2, 0) / logs.length) || 1e-6
  for (let step = 0; step < EM_STEPS_MAX; step += 1) {
    let first = 0
    let second = 0
    for (const { log, isEnded } of logs) {
      const hazard = isEnded ? 0 : hazardOf((log - mu) / sigma)
      first += isEnded ? log : mu + sigma * hazard
      second += isEnded ? log * log : mu * mu + sigma * sigma + sigma * hazard * (log + mu)
    }
    const nextMu = first / logs.length
    const nextSigma = Math.sqrt(Math.max(1e-12, second / logs.length - nextMu * nextMu))
    const moved = Math.abs(nextMu - mu) + Math.abs(nextSigma - sigma)
    mu = nextMu
    sigma = nextSigma
    if (moved < EM_TOLERANCE) break
  }
  return { kind: 'log-normal', mu, sigma }
}

/** The normal law's density over its tail; far out, where both vanish, their ratio is about z. */
function hazardOf(z: number): number {
  return z > 30 ? z + 1 / z : normalDensity(z) / normalCdf(-z)
}

/** Two phases, by expectation and maximisation from a short and a long half. */
export function fitHyperExponential(lifetimes: readonly Lifetime[]): Law & { kind: 'hyper-exponential' } {
  const { mean } = fitExponential(lifetimes)
  let phases: Phase[] = [
    { share: 0.5, mean: mean / 4 },
    { share: 0.5, mean: mean * 2 },
  ]
  for (let step = 0; step < EM_STEPS_MAX; step += 1) {
    const next = improve(phases, lifetimes)
    const moved = next.reduce(
      (sum, phase, index) => sum + Math.abs(Math.log(phase.mean / (phases[index]?.mean ?? 1))),
      0,
    )
    phases = next
    if (moved < EM_TOLERANCE) break
  }
  return { kind: 'hyper-exponential', phases: phases.toSorted((a, b) => a.mean - b.mean) }
}

function improve(phases: readonly Phase[], lifetimes: readonly Lifetime[]): Phase[] {
  const weights = phases.map(() => 0)
  const times = phases.map(() => 0)
  for (const { length, isEnded } of lifetimes) {
    const chances = phases.map(({ share, mean }) => (share * Math.exp(-length / mean)) / (isEnded ? mean : 1))
    const total = chances.reduce((sum, chance) => sum + chance, 0)
    for (const [index, phase] of phases.entries()) {
      const weight = total > 0 ? (chances[index] ?? 0) / total : phase.share
      weights[index] = (weights[index] ?? 0) + weight
      // One that was cut off in an exponential phase has the whole mean still before it.
      times[index] = (times[index] ?? 0) + weight * (isEnded ? length : length + phase.mean)
    }
  }
  return phases.map((_, index) => ({
    share: (weights[index] ?? 0) / lifetimes.length,
    mean: Math.max(1e-9, (times[index] ?? 0) / Math.max(1e-12, weights[index] ?? 0)),
  }))
}

/** On both sides of every step of the curve. */
function distanceTo(law: Law, curve: ReturnType<typeof survivalCurve>): number {
  let before = 1
  let most = 0
  for (const { at, alive } of curve) {
    const fitted = survival(law, at)
    most = Math.max(most, Math.abs(fitted - before), Math.abs(fitted - alive))
    before = alive
  }
  return most
}
