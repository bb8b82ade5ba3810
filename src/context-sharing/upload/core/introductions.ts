import { PEERS_TOLD_MAX } from '../../../base/limits.ts'
import { pickSome, type Random } from '../../../base/random.ts'

/** Number of other fetchers that a fetcher is introduced to. */
export interface Introduction<Fetcher> {
  to: Fetcher
  others: Fetcher[]
}

/** Others that fetch the same as `fetcher`. Any of them: were the first ones named to all, all would draw on them. */
export function someOthers<Fetcher>(
  random: Random,
  fetcher: Fetcher,
  fetchers: readonly Fetcher[],
): Fetcher[] {
  return pickSome(
    random,
    fetchers.filter((other) => other !== fetcher),
    PEERS_TOLD_MAX,
  )
}

/** Fetchers of one context learn of one another from their holder, so that they need not all draw on it. */
export function introduce<Fetcher>(
  random: Random,
  newcomer: Fetcher,
  fetchers: readonly Fetcher[],
): Introduction<Fetcher>[] {
  const before = fetchers.filter((other) => other !== newcomer)
  return [
    { to: newcomer, others: someOthers(random, newcomer, before) },
    ...before.map((to) => ({ to, others: [newcomer] })),
  ]
}
