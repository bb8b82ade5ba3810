// The journal's SQLite file. Every error that it throws is Hearth's own.
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite'
import { HearthError } from '../../base/errors.ts'
import { SQLITE, asStorageError, sqliteCodeOf } from '../../base/storage-errors.ts'
import { hashOf } from './row-hash.ts'

/** How long a statement waits for another process, ms. */
const BUSY_MS = 5_000

/** Only damage causes these: each statement is a constant that fits the tables of this version. */
const DAMAGED: readonly (number | undefined)[] = [
  SQLITE.error,
  SQLITE.schema,
  SQLITE.tooBig,
  SQLITE.constraint,
  SQLITE.mismatch,
  SQLITE.format,
]

export type Row = Record<string, SQLOutputValue>

/** A statement of a journal; see JournalFile. */
export class JournalStatement {
  readonly #statement: StatementSync
  readonly #path: string

  constructor(statement: StatementSync, path: string) {
    this.#statement = statement
    this.#path = path
  }

  /** Runs it, and returns how many rows it changed. */
  run(...values: SQLInputValue[]): number {
    return this.runWith(values)
  }

  /** The same with its values in one array, for statements of many. */
  runWith(values: readonly SQLInputValue[]): number {
    try {
      return Number(this.#statement.run(...values).changes)
    } catch (error) {
      throw asJournalError(error, this.#path)
    }
  }

  /** Runs it, and returns the id of the row that it inserted. */
  insert(...values: SQLInputValue[]): number {
    try {
      return Number(this.#statement.run(...values).lastInsertRowid)
    } catch (error) {
      throw asJournalError(error, this.#path)
    }
  }

  get(...values: SQLInputValue[]): Row | undefined {
    try {
      return this.#statement.get(...values)
    } catch (error) {
      throw asJournalError(error, this.#path)
    }
  }

  all(...values: SQLInputValue[]): Row[] {
    try {
      return this.#statement.all(...values)
    } catch (error) {
      throw asJournalError(error, this.#path)
    }
  }

  *iterate(...values: SQLInputValue[]): Generator<Row, void> {
    try {
      yield* this.#statement.iterate(...values)
    } catch (error) {
      throw asJournalError(error, this.#path)
    }
  }
}

/** An open journal file. Throws `data-corrupt`, `data-inaccessible`, `data-in-use` or `disk-full`, as every statement of it does. */
export class JournalFile {
  readonly path: string
  readonly #db: DatabaseSync

  constructor(path: string) {
    this.path = path
    let db: DatabaseSync | undefined
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      // Only this user may read it, because prompts may be secret; SQLite gives its side files the same mode.
      closeSync(openSync(path, 'a', 0o600))
      db = new DatabaseSync(path)
      db.exec(`PRAGMA busy_timeout = ${BUSY_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL`)
      db.function('row_hash', { varargs: true, deterministic: true }, (...fields) => hashOf(...fields))
      this.#db = db
    } catch (error) {
      db?.close()
      throw asJournalError(error, path)
    }
  }

  exec(sql: string): void {
    try {
      this.#db.exec(sql)
    } catch (error) {
      throw asJournalError(error, this.path)
    }
  }

  prepare(sql: string): JournalStatement {
    return new JournalStatement(this.#prepare(sql), this.path)
  }

  /** Its rows are arrays. */
  prepareForArrays(sql: string): JournalStatement {
    const statement = this.#prepare(sql)
    statement.setReturnArrays(true)
    return new JournalStatement(statement, this.path)
  }

  /** Its rows have whole numbers as BigInt: a damaged number may exceed what a Number holds. */
  prepareWithBigInts(sql: string): JournalStatement {
    const statement = this.#prepare(sql)
    statement.setReadBigInts(true)
    return new JournalStatement(statement, this.path)
  }

  #prepare(sql: string): StatementSync {
    try {
      return this.#db.prepare(sql)
    } catch (error) {
      throw asJournalError(error, this.path)
    }
  }

  /** Runs `work` in one transaction: all of its changes, or none when it throws. */
  transact<T>(work: () => T): T {
    this.exec('BEGIN IMMEDIATE')
    try {
      const value = work()
      this.exec('COMMIT')
      return value
    } catch (error) {
      this.rollBack()
      throw error
    }
  }

  /** Ends a transaction that failed; SQLite has ended it already after some errors. */
  rollBack(): void {
    if (this.#db.isTransaction) this.exec('ROLLBACK')
  }

  close(): void {
    this.#db.close()
  }
}

function asJournalError(error: unknown, path: string): unknown {
  const code = sqliteCodeOf(error)
  if (code === SQLITE.busy || code === SQLITE.locked)
    return new HearthError(
      'data-in-use',
      `this job is already running in another process (${path} is open there): wait for it, or stop it and run the command again`,
      { cause: error },
    )
  const isDamaged = DAMAGED.includes(code) || (error as NodeJS.ErrnoException).code === 'ERR_OUT_OF_RANGE'
  return isDamaged ? damagedJournal(path, (error as Error).message, error) : asStorageError(error, path)
}

export function damagedJournal(path: string, why: string, cause?: unknown): HearthError {
  return new HearthError(
    'data-corrupt',
    `${path} is damaged (${why}). Check the disk, then restore the file from a backup, or delete it and submit the job again`,
    { data: { path }, cause },
  )
}
