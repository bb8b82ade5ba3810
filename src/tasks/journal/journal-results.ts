// How results are written into a journal.
import type { JournalFile, JournalStatement } from './journal-file.ts'

/** Rows that one statement writes: a statement for each row took nearly twice the processor time. */
const ROWS_TOGETHER = 32

/** A row of the table `result`, in the order of its columns. */
export type ResultRow = [
  n: number,
  epoch: number,
  peer: number,
  ok: number,
  statusCode: number,
  body: string,
  promptTokens: number,
  completionTokens: number,
  committedAtMs: number,
  hash: number,
]

/** The outcome of committing a result. */
export type CommitVerdict = 'committed' | 'duplicate' | 'stale'

/**
 * Writes results inside the caller's transaction. One statement checks the epoch (the fence) and the primary key
 * (exactly once) together.
 */
export class ResultWriter {
  readonly #file: JournalFile
  readonly #one: JournalStatement
  readonly #many: JournalStatement
  readonly #has: JournalStatement

  constructor(file: JournalFile) {
    this.#file = file
    this.#one = file.prepare(insertOf(1))
    this.#many = file.prepare(insertOf(ROWS_TOGETHER))
    this.#has = file.prepare('SELECT 1 FROM result WHERE n = ?')
  }

  /** Says of each row whether it was committed, came second, or was under an epoch that is not the newest. */
  add(rows: readonly ResultRow[]): CommitVerdict[] {
    if (rows.length < ROWS_TOGETHER) return rows.map((row) => this.#addOne(row))
    this.#file.exec('SAVEPOINT results')
    if (this.#addTogether(rows)) return rows.map(() => 'committed')
    this.#file.exec('ROLLBACK TO results')
    return rows.map((row) => this.#addOne(row))
  }

  /** False when one of them was not committed, which happens rarely; then it is unknown which. */
  #addTogether(rows: readonly ResultRow[]): boolean {
    let values: ResultRow[number][] = []
    for (const [index, row] of rows.entries()) {
      for (const value of row) values.push(value)
      if ((index + 1) % ROWS_TOGETHER !== 0) continue
      if (this.#many.runWith(values) !== ROWS_TOGETHER) return false
      values = []
    }
    return rows
      .slice(rows.length - (rows.length % ROWS_TOGETHER))
      .every((row) => this.#one.runWith(row) === 1)
  }

  #addOne(row: ResultRow): CommitVerdict {
    if (this.#one.runWith(row) === 1) return 'committed'
    return this.#has.get(row[0]) === undefined ? 'stale' : 'duplicate'
  }
}

function insertOf(rows: number): string {
  const values = Array.from({ length: rows }, () => '(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  return `INSERT INTO result SELECT entry.* FROM (VALUES ${values.join(', ')}) AS entry
    JOIN request ON request.n = entry.column1 AND request.epoch = entry.column2 WHERE true ON CONFLICT (n) DO NOTHING`
}
