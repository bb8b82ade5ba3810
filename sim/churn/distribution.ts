import type { Random } from '../../src/base/random.ts'
import { gamma, normalCdf } from '../statistics/special-functions.ts'

/** How long something lasts: a law of positive numbers, in whatever unit its parameters are. */
export type Distribution = Law & {
  /** Nothing lasts longer: a maximal lifetime, or the end of the trace that a heavy tail was fitted on. */
  max?: number | undefined
}

export type Law =
  | { kind: 'constant'; value: number }
  | { kind: 'exponential'; mean: number }
  | { kind: 'weibull'; shape: number; scale: number }
  /** ln X is normal with mean `mu` and standard deviation `sigma`. */
  | { kind: 'log-normal'; mu: number; sigma: number }
  /** With chance `share` exponential of that `mean`; the shares sum to 1. */
  | { kind: 'hyper-exponential'; phases: readonly Phase[] }

export interface Phase {
  share: number
  mean: number
}

/** One draw. */
export function sample(distribution: Distribution, random: Random): number {
  return Math.min(sampleLaw(distribution, random), distribution.max ?? Infinity)
}

/**
 * How long one that is found under way still lasts: a draw of the stationary residual life, density
 * (1 − F(x)) / mean. With a shape below 1 this is far longer than a fresh draw: who is there is long-lived.
 */
export function sampleResidual(distribution: Distribution, random: Random): number {
  const max = distribution.max ?? Infinity
  for (;;) {
    // The residual density of min(X, max) is that of X, cut off at `max`.
    const residual = sampleResidualLaw(distribution, random)
    if (residual < max) return residual
  }
}

/** The chance that a draw is at most `x`. */
export function cdf(distribution: Distribution, x: number): number {
  if (x < 0) return 0
  return x >= (distribution.max ?? Infinity) ? 1 : 1 - survival(distribution, x)
}

/** The mean, with `max` taken into account. */
export function meanOf(distribution: Distribution): number {
  if (distribution.max === undefined) return meanOfLaw(distribution)
  return integrateSurvival(distribution, distribution.max)
}

/** The share of the residual life below `x`: the integral of the survival function over the mean. */
export function residualCdf(distribution: Distribution, x: number): number {
  if (x <= 0) return 0
  const end = Math.min(x, distribution.max ?? Infinity)
  return integrateSurvival(distribution, end) / meanOf(distribution)
}

/** The same law on another unit: every draw multiplied by `factor`. */
export function scaled(distribution: Distribution, factor: number): Distribution {
  const max = distribution.max === undefined ? {} : { max: distribution.max * factor }
  return { ...scaledLaw(distribution, factor), ...max }
}

function scaledLaw(law: Law, factor: number): Law {
  switch (law.kind) {
    case 'constant':
      return { kind: law.kind, value: law.value * factor }
    case 'exponential':
      return { kind: law.kind, mean: law.mean * factor }
    case 'weibull':
      return { kind: law.kind, shape: law.shape, scale: law.scale * factor }
    case 'log-normal':
      return { kind: law.kind, mu: law.mu + Math.log(factor), sigma: law.sigma }
    default:
      return {
        kind: law.kind,
        phases: law.phases.map(({ share, mean }) => ({ share, mean: mean * factor })),
      }
  }
}

function sampleLaw(law: Law, random: Random): number {
  switch (law.kind) {
    case 'constant':
      return law.value
    case 'exponential':
      return law.mean * exponential(random)
    case 'weibull':
      return law.scale * exponential(random) ** (1 / law.shape)
    case 'log-normal':
      return Math.exp(law.mu + law.sigma * normal(random))
    default:
      return pickPhase(law.phases, ({ share }) => share, random).mean * exponential(random)
  }
}

/** A uniform part of a draw of the length-biased law, whose density is x·f(x) / mean. */
function sampleResidualLaw(law: Law, random: Random): number {
  switch (law.kind) {
    case 'constant':
      return law.value * random.next()
    case 'exponential':
      return law.mean * exponential(random)
    case 'weibull':
      // Length-biased, (X / scale)^shape is Gamma(1 + 1/shape).
      return law.scale * gammaDraw(1 + 1 / law.shape, random) ** (1 / law.shape) * random.next()
    case 'log-normal':
      return Math.exp(law.mu + law.sigma * law.sigma + law.sigma * normal(random)) * random.next()
    default:
      return pickPhase(law.phases, ({ share, mean }) => share * mean, random).mean * exponential(random)
  }
}

/** The chance of lasting longer than `x`, to full relative precision in the tail. */
export function survival(law: Law, x: number): number {
  switch (law.kind) {
    case 'constant':
      return x < law.value ? 1 : 0
    case 'exponential':
      return Math.exp(-x / law.mean)
    case 'weibull':
      return Math.exp(-((x / law.scale) ** law.shape))
    case 'log-normal':
      return normalCdf((law.mu - Math.log(x)) / law.sigma)
    default:
      return law.phases.reduce((sum, { share, mean }) => sum + share * Math.exp(-x / mean), 0)
  }
}

function meanOfLaw(law: Law): number {
  switch (law.kind) {
    case 'constant':
      return law.value
    case 'exponential':
      return law.mean
    case 'weibull':
      return law.scale * gamma(1 + 1 / law.shape)
    case 'log-normal':
      return Math.exp(law.mu + (law.sigma * law.sigma) / 2)
    default:
      return law.phases.reduce((sum, { share, mean }) => sum + share * mean, 0)
  }
}

/** ∫₀^end (1 − F), by the midpoint rule in ln x, which follows heavy tails over all their decades. */
function integrateSurvival(law: Law, end: number): number {
  if (law.kind === 'constant') return Math.min(end, law.value)
  const steps = 600
  const width = 30 / steps
  let sum = 0
  for (let step = 0; step < steps; step += 1) {
    const x = end * Math.exp(-(step + 0.5) * width)
    sum += survival(law, x) * x * width
  }
  return sum
}

/** A draw of the exponential law with mean 1. `next()` is below 1, so the logarithm is finite. */
export function exponential(random: Random): number {
  return -Math.log1p(-random.next())
}

/** A draw of the standard normal law (Box and Muller's pair, of which one is used). */
export function normal(random: Random): number {
  const radius = Math.sqrt(2 * exponential(random))
  return radius * Math.cos(2 * Math.PI * random.next())
}

/** A draw of Gamma(shape, 1) for shape ≥ 1: Marsaglia and Tsang, doi:10.1145/358407.358414. */
function gammaDraw(shape: number, random: Random): number {
  const d = shape - 1 / 3
  const c = 1 / Math.sqrt(9 * d)
  for (;;) {
    const z = normal(random)
    const cube = (1 + c * z) ** 3
    if (cube <= 0) continue
    const accepted = 0.5 * z * z + d - d * cube + d * Math.log(cube)
    if (-exponential(random) < accepted) return d * cube
  }
}

function pickPhase(phases: readonly Phase[], weight: (phase: Phase) => number, random: Random): Phase {
  const total = phases.reduce((sum, phase) => sum + weight(phase), 0)
  let left = random.next() * total
  for (const phase of phases) {
    left -= weight(phase)
    if (left < 0) return phase
  }
  const last = phases.at(-1)
  if (last === undefined) throw new TypeError('a hyper-exponential law has at least one phase')
  return last
}
