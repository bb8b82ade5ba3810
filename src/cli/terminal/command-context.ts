import { resolve } from 'node:path'
import pino from 'pino'
import { every, type Clock } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { checkAfterSteps, checksAskedFor } from '../../base/invariants.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Random } from '../../base/random.ts'
import { systemClock } from '../../base/system-clock.ts'
import { asStorageError, pathOf } from '../../base/storage-errors.ts'
import { systemRandom } from '../../base/system-random.ts'
import { DataFolder, defaultDataPath } from '../../node/home/data-folder.ts'
import { EXIT, exitCodeOf } from './exit-codes.ts'
import { openTerminal, paint, type Terminal } from './terminal.ts'

/** Options that every command takes. */
export interface CommonOptions {
  data?: string
  json?: boolean
  verbose?: boolean
}

/** The parts that every command uses. */
export interface CommandContext {
  terminal: Terminal
  data: DataFolder
  clock: Clock
  random: Random
  log: Logger
  /** Aborted by the first Ctrl-C or SIGTERM; a second one ends the process at once. */
  signal: AbortSignal
}

/** Interval of a timer that does nothing but keep the process alive, ms. */
const HOLD_MS = 60_000

/** The reason of a signal that Ctrl-C or SIGTERM aborts. */
class Interrupted extends Error {
  readonly signal: NodeJS.Signals

  constructor(signal: NodeJS.Signals) {
    super(signal === 'SIGINT' ? 'by Ctrl-C' : `by ${signal}`)
    this.signal = signal
  }
}

/**
 * Runs a command with its terminal, data folder and signal, and sets the exit status. Prints an error as
 * one line for people, or as an `error` event with `--json`.
 */
export async function runCommand(
  options: CommonOptions,
  run: (context: CommandContext) => Promise<number>,
): Promise<void> {
  const terminal = openTerminal(options.json === true)
  const stop = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(EXIT.interrupted)
    stop.abort(new Interrupted(signal))
  }
  process.stdout.on('error', endWithReader)
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  // A command may wait for a background timer alone, as while the network stops: node would exit.
  const letGo = every(systemClock, HOLD_MS, () => {}, { background: false })
  let data: DataFolder | undefined
  try {
    const isChecking = checksAskedFor(process.env)
    if (isChecking !== undefined) checkAfterSteps(isChecking)
    const log = openLog(options.verbose === true)
    data = new DataFolder(resolve(options.data ?? process.env['HEARTH_DATA'] ?? defaultDataPath(process.env)))
    const context = { terminal, data, clock: systemClock, random: systemRandom, log, signal: stop.signal }
    process.exitCode = await run(context)
  } catch (error) {
    process.exitCode = report(terminal, ofInterruption(stop.signal, error) ?? named(error, data))
  } finally {
    letGo()
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

/** A closed pipe, as in `hearth status | head`, ends the command without an error. */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
  process.exit(EXIT.ok)
}

/**
 * The reason of an interrupted command. What was under way fails in many ways when it is stopped, and none of them
 * is an error; only what concerns the disk is told all the same. Undefined where nobody interrupted it.
 */
function ofInterruption(signal: AbortSignal, error: unknown): unknown {
  const isOfDisk = [EXIT.localResource, EXIT.verification].some((status) => exitCodeOf(error) === status)
  return signal.aborted && !isOfDisk ? signal.reason : undefined
}

/** An error of a file of the data folder, wherever it arose, is no defect of Hearth. */
function named(error: unknown, data: DataFolder | undefined): unknown {
  const path = pathOf(error)
  return data !== undefined && path?.startsWith(data.path) === true ? asStorageError(error, path) : error
}

function report(terminal: Terminal, error: unknown): number {
  if (error instanceof Interrupted) return error.signal === 'SIGTERM' ? EXIT.ok : EXIT.interrupted
  const code = isHearthError(error) ? error.code : 'internal'
  terminal.event({
    event: 'error',
    code,
    message: messageOf(error),
    data: isHearthError(error) ? error.data : {},
  })
  terminal.note(`${paint('red', 'hearth:')} ${messageOf(error)}`)
  if (code === 'internal' && error instanceof Error) terminal.note(error.stack ?? '')
  if (isHearthError(error, 'input-invalid')) noteLines(terminal, error.data)
  return exitCodeOf(error)
}

function noteLines(terminal: Terminal, data: Readonly<Record<string, unknown>>): void {
  const errors = (data['errors'] ?? []) as { line: number; message: string }[]
  for (const { line, message } of errors.slice(0, 20)) terminal.note(`  line ${line}: ${message}`)
  const more = Number(data['errorCount'] ?? 0) - Math.min(20, errors.length)
  if (more > 0) terminal.note(`  and ${more} more`)
}

/** Logs go to stderr as NDJSON: warnings, everything with --verbose, or the level in HEARTH_LOG. Throws `usage`. */
function openLog(isVerbose: boolean): Logger {
  const level = process.env['HEARTH_LOG'] ?? (isVerbose ? 'debug' : 'warn')
  const levels = [...Object.keys(pino.levels.values), 'silent']
  if (!levels.includes(level))
    throw new HearthError(
      'usage',
      `HEARTH_LOG is "${level}", which is no log level. Set it to one of ${levels.join(', ')}`,
    )
  return pino({ level, base: null }, pino.destination({ dest: 2, sync: true }))
}
