// The journal's record of requests without a result.
import type { RequestRange } from '../job/request-range.ts'
import type { LeaseKey } from '../wire/task-messages.ts'
import type { JournalFile } from './journal-file.ts'

/** A request that is leased and has no result: its newest epoch, and every peer that was sent it under that epoch. */
export interface OpenLease extends LeaseKey {
  holders: string[]
}

/** The requests without a result, as ranges in the file's order. */
export function unsettledRanges(file: JournalFile, requests: number): RequestRange[] {
  const ranges: RequestRange[] = []
  const ends = settledNextTo(file, -1)
  let from = 0
  for (const [index, to] of [...settledNextTo(file, 1), requests].entries()) {
    if (from < to) ranges.push({ from, to })
    from = (ends[index] ?? to) + 1
  }
  return ranges
}

/** The settled requests whose neighbour so many places before is not: the ends of what is settled in a row. */
function settledNextTo(file: JournalFile, before: 1 | -1): number[] {
  return file
    .prepare(
      `SELECT n FROM result AS here WHERE NOT EXISTS
       (SELECT 1 FROM result WHERE n = here.n - ?) ORDER BY n`,
    )
    .all(before)
    .map(({ n }) => Number(n))
}

/** The requests that were leased and have no result, in the file's order. */
export function openLeases(file: JournalFile): OpenLease[] {
  const rows = file
    .prepare(
      `SELECT n, epoch, name FROM
         (SELECT n, epoch, holder FROM request UNION ALL SELECT n, epoch, copy.holder FROM copy JOIN request USING (n, epoch))
       LEFT JOIN peer ON peer.id = holder WHERE epoch > 0 AND n NOT IN (SELECT n FROM result) ORDER BY n`,
    )
    .all() as unknown as { n: number; epoch: number; name: string | null }[]
  const open: OpenLease[] = []
  for (const { n, epoch, name } of rows) {
    if (open.at(-1)?.n !== n) open.push({ n, epoch, holders: [] })
    if (name !== null) open.at(-1)?.holders.push(name)
  }
  return open
}
