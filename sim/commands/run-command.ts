import { isHearthError, messageOf } from '../../src/base/errors.ts'

/** Where a command of the simulator writes: data to stdout, what is for people to stderr. */
export interface Output {
  readonly isJson: boolean
  /** Whether a line of progress can be drawn again and again. */
  readonly isInteractive: boolean
  /** One line of data; with --json an object, else text. */
  print(line: string | object): void
  /** One line for people; nothing with --json. */
  note(line: string): void
  /** Draws a line of progress over the last one; nothing where that cannot be. */
  progress(line: string): void
}

/** Runs a command and sets the exit status: 2 for what the user can put right, 1 for a defect. */
export async function runSimCommand(
  options: { json?: boolean },
  run: (output: Output) => Promise<number>,
): Promise<void> {
  const output = openOutput(options.json === true)
  // The reader of a pipe may stop early, as `head` does; the rest is not needed then.
  process.stdout.on('error', () => process.exit(0))
  try {
    process.exitCode = await run(output)
  } catch (error) {
    output.progress('')
    const code = isHearthError(error) ? error.code : 'internal'
    if (output.isJson) output.print({ event: 'error', code, message: messageOf(error) })
    output.note(`hearth sim: ${messageOf(error)}`)
    if (code === 'internal' && error instanceof Error) output.note(error.stack ?? '')
    process.exitCode = code === 'internal' ? 1 : 2
  }
}

function openOutput(isJson: boolean): Output {
  const { stdout, stderr } = process
  const isInteractive = !isJson && stderr.isTTY && process.env['TERM'] !== 'dumb'
  const clear = (): void => {
    if (isInteractive) stderr.write('\r\u001B[K')
  }
  return {
    isJson,
    isInteractive,
    print(line) {
      clear()
      stdout.write(`${typeof line === 'string' ? line : JSON.stringify(line)}\n`)
    },
    note(line) {
      if (isJson) return
      clear()
      stderr.write(`${line}\n`)
    },
    progress(line) {
      if (!isInteractive) return
      clear()
      stderr.write(line.slice(0, (stderr.columns || 80) - 1))
    },
  }
}
