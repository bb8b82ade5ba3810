import { mean, quantile } from '../statistics/summary.ts'
import type { DhtMeasures } from './dht-world.ts'

/** The measured look-ups and announcements. */
export interface DhtSummary {
  livePeers: number
  /** Finds that counted: a holder was up. */
  finds: number
  /** The share of them that named a holder that was up. */
  success: number
  findMs: { p50: number; p95: number; max: number }
  questionsPerFind: number
  /** The share of reported holders that were gone. */
  staleShare: number
  provideMs: { p50: number; p95: number }
  questions: number
  unansweredShare: number
}

export function summariseDht(measures: DhtMeasures): DhtSummary {
  const finds = measures.finds.filter(({ couldFind }) => couldFind)
  const took = finds.map(({ tookMs }) => tookMs)
  const named = finds.reduce((sum, find) => sum + find.named, 0)
  const live = finds.reduce((sum, find) => sum + find.live, 0)
  return {
    livePeers: measures.meanLivePeers,
    finds: finds.length,
    success: finds.filter((find) => find.live > 0).length / finds.length,
    findMs: { p50: quantile(took, 0.5), p95: quantile(took, 0.95), max: quantile(took, 1) },
    questionsPerFind: mean(finds.map(({ questions }) => questions)),
    staleShare: named === 0 ? 0 : 1 - live / named,
    provideMs: { p50: quantile(measures.providesMs, 0.5), p95: quantile(measures.providesMs, 0.95) },
    questions: measures.questions,
    unansweredShare: measures.unanswered / Math.max(1, measures.questions),
  }
}

/** The `dht` section of a scenario that draws look-ups as they were here: log-normal through both quantiles. */
export function asScenario({ findMs, provideMs, success }: DhtSummary, recordMs: number): string[] {
  const Z95 = 1.645
  const sigma = findMs.p50 > 0 ? Math.log(findMs.p95 / findMs.p50) / Z95 : 0
  return [
    'dht:',
    `  publishS: ${digits(provideMs.p50 / 1_000)}`,
    `  lookupMs: ${digits(findMs.p50)}`,
    `  lookupSigma: ${digits(Math.max(0, sigma))}`,
    `  success: ${digits(success)}`,
    // A record is renewed before it ends, so one that is gone is found for the rest of its last.
    `  staleS: ${digits(recordMs / 1_000)}`,
  ]
}

function digits(value: number): string {
  return String(Number(value.toPrecision(3)))
}
