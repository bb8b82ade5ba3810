import type { LeaseKey } from '../../wire/task-messages.ts'

/**
 * Leases of requests that follow one another, under one epoch. One statement serves a run: a statement for each
 * request took half of a submitter's processor time.
 */
export function* runsOf(leases: readonly LeaseKey[]): Generator<readonly [LeaseKey, ...LeaseKey[]]> {
  let from = 0
  for (const [index, { n, epoch }] of leases.entries()) {
    const next = leases[index + 1]
    if (next?.n === n + 1 && next.epoch === epoch) continue
    yield leases.slice(from, index + 1) as [LeaseKey, ...LeaseKey[]]
    from = index + 1
  }
}
