import { z } from 'zod'
import type { Arrivals } from '../churn/arrivals.ts'
import { PLAIN_DEPARTURE, type BulkPreemption, type ChurnModel, type Sessions } from '../churn/churn-model.ts'
import { scaled, type Distribution } from '../churn/distribution.ts'
import { SESSION_PRESETS } from '../churn/presets.ts'
import { HOUR_MS } from '../churn/rhythm.ts'

const positive = z.number().positive()
const share = z.number().min(0).max(1)
const cap = { maxH: positive.optional() }

/** How long something lasts, in hours. */
const law: z.ZodType<Law> = z.union([
  z.strictObject({ constantH: z.number().min(0), ...cap }),
  z.strictObject({ exponentialH: positive, ...cap }),
  z.strictObject({ weibull: z.strictObject({ shape: positive, scaleH: positive }), ...cap }),
  z.strictObject({ logNormal: z.strictObject({ medianH: positive, sigma: positive }), ...cap }),
  z.strictObject({
    hyperExponential: z.array(z.strictObject({ share: positive, meanH: positive })).min(2),
    ...cap,
  }),
])

export interface Churn {
  /** A trace to play instead, in any format that `hearth sim import` reads: who comes and goes is in it. */
  trace?: string | undefined
  preset: string
  up?: Law | undefined
  down?: Law | undefined
  stretch: number
  start: Sessions['start']
  noticeS: number
  noticeShare: number
  freezeShare: number
  forEverShare: number
  wipeShare: number
  rhythm?: Sessions['rhythm']
  bulk?: Bulk | undefined
  arrivals?: { poissonPerHour: number } | { peers: number; atS: number; overS: number } | undefined
}

type Law = { maxH?: number | undefined } & (
  | { constantH: number }
  | { exponentialH: number }
  | { weibull: { shape: number; scaleH: number } }
  | { logNormal: { medianH: number; sigma: number } }
  | { hyperExponential: { share: number; meanH: number }[] }
)

interface Bulk {
  groups: number
  perHour: number
  median: number
  sigma: number
  victims: BulkPreemption['victims']
  noticeS: number
  refill: Law
}

export const churnSchema: z.ZodType<Churn> = z.strictObject({
  trace: z.string().optional(),
  /** A measured fleet; `up` and `down` say otherwise. */
  preset: z.enum(Object.keys(SESSION_PRESETS) as [string, ...string[]]).default('nd-condor'),
  up: law.optional(),
  down: law.optional(),
  /** Every session and absence so many times as long. */
  stretch: positive.default(1),
  start: z.enum(['stationary', 'all-up', 'all-down']).default('stationary'),
  noticeS: z.number().min(0).default(0),
  noticeShare: share.default(1),
  freezeShare: share.default(0),
  forEverShare: share.default(0),
  wipeShare: share.default(0),
  rhythm: z
    .strictObject({
      dailySwing: z.number().min(0).max(0.99),
      peakHour: z.number().min(0).max(24).default(14),
      weekendRatio: positive.default(1),
      offsetsHours: z.array(z.number()).min(1).default([0]),
    })
    .optional(),
  bulk: z
    .strictObject({
      groups: z.int().min(1),
      perHour: z.number().min(0),
      /** Taken at once: log-normal. */
      median: positive,
      sigma: z.number().min(0),
      victims: z.enum(['random', 'newest', 'oldest']).default('random'),
      noticeS: z.number().min(0).default(0),
      refill: law.default({ logNormal: { medianH: 0.1, sigma: 1 } }),
    })
    .optional(),
  arrivals: z
    .union([
      z.strictObject({ poissonPerHour: positive }),
      z.strictObject({ peers: z.int().min(1), atS: z.number().min(0), overS: z.number().min(0) }),
    ])
    .optional(),
})

/** The model that a scenario's churn stands for, in ms. */
export function churnModelOf(churn: Churn): ChurnModel {
  return {
    sessions: sessionsOf(churn),
    bulk: churn.bulk === undefined ? undefined : bulkOf(churn.bulk),
    arrivals: churn.arrivals === undefined ? undefined : arrivalsOf(churn.arrivals),
  }
}

function sessionsOf(churn: Churn): Sessions {
  const preset = SESSION_PRESETS[churn.preset] as { up: Distribution; down: Distribution }
  const up = churn.up === undefined ? preset.up : distributionOf(churn.up)
  const down = churn.down === undefined ? preset.down : distributionOf(churn.down)
  return {
    up: scaled(up, churn.stretch),
    down: scaled(down, churn.stretch),
    start: churn.start,
    departure: {
      ...PLAIN_DEPARTURE,
      noticeMs: churn.noticeS * 1000,
      noticeShare: churn.noticeS > 0 ? churn.noticeShare : 0,
      freezeShare: churn.freezeShare,
      forEverShare: churn.forEverShare,
      wipeShare: churn.wipeShare,
    },
    rhythm: churn.rhythm,
  }
}

function distributionOf(given: Law): Distribution {
  const max = given.maxH === undefined ? {} : { max: given.maxH }
  if ('constantH' in given) return scaled({ kind: 'constant', value: given.constantH, ...max }, HOUR_MS)
  if ('exponentialH' in given)
    return scaled({ kind: 'exponential', mean: given.exponentialH, ...max }, HOUR_MS)
  if ('weibull' in given) {
    const { shape, scaleH } = given.weibull
    return scaled({ kind: 'weibull', shape, scale: scaleH, ...max }, HOUR_MS)
  }
  if ('hyperExponential' in given) {
    const phases = given.hyperExponential.map(({ share, meanH }) => ({ share, mean: meanH }))
    return scaled({ kind: 'hyper-exponential', phases, ...max }, HOUR_MS)
  }
  const { medianH, sigma } = given.logNormal
  return scaled({ kind: 'log-normal', mu: Math.log(medianH), sigma, ...max }, HOUR_MS)
}

function bulkOf(bulk: Bulk): BulkPreemption {
  return {
    groups: bulk.groups,
    perHour: bulk.perHour,
    size:
      bulk.sigma === 0
        ? { kind: 'constant', value: bulk.median }
        : { kind: 'log-normal', mu: Math.log(bulk.median), sigma: bulk.sigma },
    victims: bulk.victims,
    noticeMs: bulk.noticeS * 1000,
    refill: distributionOf(bulk.refill),
  }
}

function arrivalsOf(arrivals: NonNullable<Churn['arrivals']>): Arrivals {
  if ('poissonPerHour' in arrivals) return { kind: 'poisson', perHour: arrivals.poissonPerHour }
  const { peers, atS, overS } = arrivals
  return { kind: 'flash-crowd', peers, atMs: atS * 1000, overMs: overS * 1000 }
}
