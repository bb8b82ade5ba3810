// Damaged rows of a journal, found before its job goes on.
import { damagedJournal, type JournalFile, type Row } from './journal-file.ts'
import { damageBody, isHashOf, isWhole, numberOf, RESULT_FIELDS } from './journal-rows.ts'
import { hashOf } from './row-hash.ts'

/** The repairs of a journal's damaged rows. */
export interface Mended {
  /** Damaged results; their requests run again. */
  resultsForgotten: number
  /** Damaged requests that had no result; each became an error line. */
  requestsLost: number
}

/** An epoch rises by one with each lease, so a larger one is damage. */
const EPOCH_MAX = 2 ** 31

/**
 * Reads every result and every request that is still to run. Forgets the damaged results, so that they are computed
 * again, and gives damaged requests an error line. Throws `data-corrupt` where the damage hinders that.
 */
export function mendJournal(file: JournalFile, requests: number, wallMs: number): Mended {
  return file.transact(() => {
    const isSettled = new Uint8Array(requests)
    const damaged = damagedResults(file, isSettled)
    forgetResults(file, damaged)
    const lost = damagedRequests(file, isSettled)
    addErrorLines(file, lost, wallMs)
    return { resultsForgotten: damaged.length, requestsLost: lost.length }
  })
}

/** The row numbers of damaged results; marks the whole ones in `isSettled`. */
function damagedResults(file: JournalFile, isSettled: Uint8Array): bigint[] {
  const damaged: bigint[] = []
  for (const row of file
    .prepareWithBigInts(`SELECT ${RESULT_FIELDS}, hash FROM result ORDER BY n`)
    .iterate()) {
    const n = numberOf(row, isSettled.length)
    if (n !== undefined && isWhole(row) && isSettled[n] === 0) isSettled[n] = 1
    else if (typeof row['n'] === 'bigint') damaged.push(row['n'])
    else throw damagedJournal(file.path, 'a result has no number')
  }
  return damaged
}

/** A new epoch keeps results of the old lease out. */
function forgetResults(file: JournalFile, damaged: readonly bigint[]): void {
  const remove = file.prepare('DELETE FROM result WHERE n = ?')
  const reopen = file.prepare('UPDATE request SET epoch = epoch + 1, holder = NULL WHERE n = ?')
  for (const n of damaged) {
    if (remove.run(n) !== 1) throw damagedJournal(file.path, `result ${n} cannot be deleted`)
    reopen.run(n)
  }
}

/** The numbers of the unsettled requests that cannot be run. Corrects epochs that no lease can have. */
function damagedRequests(file: JournalFile, isSettled: Uint8Array): number[] {
  const read = file.prepareWithBigInts('SELECT * FROM request WHERE n >= ? AND n < ? ORDER BY n')
  const startAgain = file.prepare('UPDATE request SET epoch = 1, holder = NULL WHERE n = ?')
  const damaged: number[] = []
  for (const [from, to] of unsettledRanges(isSettled)) {
    let next = from
    for (const row of read.iterate(from, to)) {
      const n = Number(row['n'])
      for (; next < n; next += 1) damaged.push(next)
      next = n + 1
      if (!isRunnable(row)) damaged.push(n)
      else if (!isEpoch(row['epoch'])) startAgain.run(n)
    }
    for (; next < to; next += 1) damaged.push(next)
  }
  return damaged
}

function* unsettledRanges(isSettled: Uint8Array): Generator<[from: number, to: number], void> {
  for (let from = isSettled.indexOf(0); from !== -1;) {
    const end = isSettled.indexOf(1, from)
    const to = end === -1 ? isSettled.length : end
    yield [from, to]
    from = isSettled.indexOf(0, to)
  }
}

function isRunnable(row: Row): boolean {
  const { n = null, line = null, customId = null, url = null, body = null } = row
  return isHashOf(row['keyHash'], n, line, customId) && isHashOf(row['bodyHash'], n, url, body)
}

function isEpoch(epoch: Row[string] | undefined): boolean {
  return typeof epoch === 'bigint' && epoch >= 0n && epoch <= EPOCH_MAX
}

function addErrorLines(file: JournalFile, lost: readonly number[], wallMs: number): void {
  const add = file.prepare(`INSERT INTO result VALUES (${'?, '.repeat(9)}?)`)
  for (const n of lost) {
    const row = [n, 0, 0, 0, 500, damageBody('request-damaged', n), 0, 0, wallMs]
    add.run(...row, hashOf(...row))
  }
}
