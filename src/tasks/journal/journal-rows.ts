// The journal's rows as they are read back: each is checked against its hash.
import { damagedJournal, type JournalFile, type Row } from './journal-file.ts'
import { hashOf } from './row-hash.ts'

/** A settled request, as an output line needs it. */
export interface JournalLine {
  n: number
  /** Null when the journal's record of it is damaged. */
  customId: string | null
  ok: boolean
  statusCode: number
  body: string
  peer: string
}

/** The errors of lines whose rows are damaged: docs/errors.md. */
export type DamageCode = 'request-damaged' | 'result-damaged'

const DAMAGE_WORDS: Readonly<Record<DamageCode, (n: number) => string>> = {
  'request-damaged': (n) =>
    `the journal's record of request ${n + 1} of the input is damaged, so it was not run; check the disk, then submit that line again in another job`,
  'result-damaged': (n) =>
    `the committed result of request ${n + 1} of the input is damaged; check the disk, then run the same command again, which answers this line anew`,
}

export function damageBody(code: DamageCode, n: number): string {
  return JSON.stringify({ code, message: DAMAGE_WORDS[code](n) })
}

const RESULT_COLUMNS = [
  'n',
  'epoch',
  'peer',
  'ok',
  'statusCode',
  'body',
  'promptTokens',
  'completionTokens',
  'committedAtMs',
] as const
/** The columns of a result that its hash covers, in its order. */
export const RESULT_FIELDS: string = RESULT_COLUMNS.map((column) => `result.${column}`).join(', ')

/** Whether a row of `RESULT_FIELDS` and `hash`, read with BigInts, is as it was written. */
export function isWhole(row: Row): boolean {
  return isHashOf(row['hash'], ...RESULT_COLUMNS.map((column) => row[column] ?? null))
}

/** Whether `hash`, as read with BigInts, is that of the fields. */
export function isHashOf(hash: Row[string] | undefined, ...fields: Row[string][]): boolean {
  return hash === BigInt(hashOf(...fields))
}

/** The number of a row; undefined when it is none of the job's `requests`. */
export function numberOf({ n }: Row, requests: number): number | undefined {
  return typeof n === 'bigint' && n >= 0n && n < BigInt(requests) ? Number(n) : undefined
}

/**
 * The settled requests in the input's order; a damaged row becomes an error line. Throws `data-corrupt` when a row of a
 * job that is done cannot be found, because its output would lack a line.
 */
export function* settledLines(
  file: JournalFile,
  requests: number,
  isDone: boolean,
): Generator<JournalLine, void> {
  const rows = file
    .prepareWithBigInts(
      `SELECT ${RESULT_FIELDS}, result.hash AS hash, line, customId, keyHash, name FROM result
       LEFT JOIN request USING (n) LEFT JOIN peer ON peer.id = result.peer ORDER BY n`,
    )
    .iterate()
  let lines = 0
  let last = -1
  for (const row of rows) {
    const n = numberOf(row, requests)
    if (n === undefined) continue
    if (n <= last) throw damagedJournal(file.path, `its results are out of order at ${n}`)
    last = n
    lines += 1
    yield lineOf(row, n)
  }
  if (isDone && lines < requests)
    throw damagedJournal(file.path, `it has ${lines} of ${requests} results; run the same command again`)
}

function lineOf(row: Row, n: number): JournalLine {
  const { line, customId, keyHash, name } = row
  const isKeyWhole = isHashOf(keyHash, row['n'] ?? null, line ?? null, customId ?? null)
  const who = {
    n,
    customId: isKeyWhole ? (customId as string) : null,
    peer: typeof name === 'string' ? name : '',
  }
  if (!isKeyWhole) return { ...who, ...damagedAnswer('request-damaged', n) }
  if (!isWhole(row)) return { ...who, ...damagedAnswer('result-damaged', n) }
  return { ...who, ok: row['ok'] === 1n, statusCode: Number(row['statusCode']), body: row['body'] as string }
}

function damagedAnswer(code: DamageCode, n: number): Pick<JournalLine, 'ok' | 'statusCode' | 'body'> {
  return { ok: false, statusCode: 500, body: damageBody(code, n) }
}
