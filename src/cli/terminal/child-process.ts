import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError } from '../../base/errors.ts'
import { systemClock } from '../../base/system-clock.ts'

/** One line of `--json` output. */
export type HearthEvent = { event: string } & Record<string, unknown>

const MAIN = fileURLToPath(new URL('../../../bin/hearth.js', import.meta.url))
/** As in the first line of bin/hearth.js. */
export const NODE_OPTIONS: readonly string[] = ['--max-semi-space-size=8']
/** Characters kept from the end of a child's stderr, to explain its failure. */
const STDERR_KEPT = 4_000

/** A `hearth` command in a separate process; reads its NDJSON events as they arrive. */
export class HearthProcess {
  readonly #child: ChildProcess
  readonly #events: HearthEvent[] = []
  readonly #listeners = new Set<(event: HearthEvent) => void>()
  readonly #command: string
  #stderr = ''
  /** Resolves with the exit status, or the signal's name, when the process is gone. */
  readonly exited: Promise<number | string>

  constructor(parameters: readonly string[], environment: NodeJS.ProcessEnv = process.env) {
    this.#command = `hearth ${parameters.join(' ')}`
    this.#child = spawn(process.execPath, [...NODE_OPTIONS, MAIN, ...parameters, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
    })
    this.exited = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => resolve(code ?? signal ?? 1))
    })
    if (this.#child.stdout !== null)
      createInterface(this.#child.stdout).on('line', (line) => this.#onLine(line))
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT)
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** All events so far. */
  get events(): readonly HearthEvent[] {
    return this.#events
  }

  /** The last characters that it wrote to stderr. */
  get stderr(): string {
    return this.#stderr
  }

  /** The last line of JSON that it printed, an event or not. */
  get lastLine(): unknown {
    return this.#events.at(-1)
  }

  onEvent(listener: (event: HearthEvent) => void): void {
    this.#listeners.add(listener)
  }

  /**
   * The first event with this name that `accept` takes, past or future. Throws `deadline-passed`, or
   * `internal` with the end of stderr when the process ends first.
   */
  event(
    name: string,
    deadlineMs: number,
    accept: (event: HearthEvent) => boolean = () => true,
  ): Promise<HearthEvent> {
    const isIt = (event: HearthEvent): boolean => event.event === name && accept(event)
    const past = this.#events.find(isIt)
    if (past !== undefined) return Promise.resolve(past)
    const whose = `the "${name}" event of ${this.#command}`
    return withDeadline({ clock: systemClock, ms: deadlineMs, whose }, () => {
      const waiting = new Promise<HearthEvent>((resolve) => {
        this.#listeners.add((event) => {
          if (isIt(event)) resolve(event)
        })
      })
      return Promise.race([waiting, this.#failed(name)])
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Sends SIGTERM, and SIGKILL when the process still runs after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.kill('SIGTERM')
    const cancel = systemClock.schedule(graceMs, () => this.kill('SIGKILL'))
    await this.exited
    cancel()
  }

  async #failed(name: string): Promise<never> {
    const status = await this.exited
    throw new HearthError(
      'internal',
      `${this.#command} ended (${status}) before its "${name}" event: ${this.#stderr}`,
    )
  }

  #onLine(line: string): void {
    let event: HearthEvent
    try {
      event = JSON.parse(line) as HearthEvent
    } catch {
      return
    }
    this.#events.push(event)
    for (const listener of this.#listeners) listener(event)
  }
}
