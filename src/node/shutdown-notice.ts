import { exec } from 'node:child_process'
import { type Cancel, type Clock, every } from '../base/clock.ts'
import { HearthError } from '../base/errors.ts'
import type { Logger } from '../base/log/logger.ts'

export interface ShutdownNoticeComponents {
  clock: Clock
  log: Logger
}

/** The command is run this often, and killed when it takes longer than that, ms. */
const RUN_EVERY_MS = 5_000
const RUN_MS_MAX = 4_000
/** Taken when the command does not print how many seconds are left, and kept back for stopping, ms. */
const LEFT_MS = 30_000
const STOP_MS = 2_000
/** Exit statuses of a shell for a command that is missing or not executable. */
const NOT_FOUND = [126, 127]

/**
 * Runs a command every 5 s that asks the cloud whether this machine is about to be taken away: exit status
 * 0 means that it is, and its output may be the seconds left (docs/operating.md has recipes).
 */
export class ShutdownNotice {
  readonly #components: ShutdownNoticeComponents
  readonly #command: string
  readonly #onNotice: (leftMs: number) => void
  #isRunning = false
  #cancel: Cancel = () => {}

  constructor(components: ShutdownNoticeComponents, command: string, onNotice: (leftMs: number) => void) {
    this.#components = components
    this.#command = command
    this.#onNotice = onNotice
  }

  /** Runs the command for the first time, too. Throws `config-invalid` when it cannot be run at all. */
  async start(): Promise<void> {
    const status = await this.#run()
    if (NOT_FOUND.includes(status)) {
      throw new HearthError(
        'config-invalid',
        `Cannot run the --shutdown-notice command "${this.#command}", because the shell cannot find or execute it. Check its path and mode`,
      )
    }
    if (status !== 0) this.#cancel = every(this.#components.clock, RUN_EVERY_MS, () => void this.#run())
  }

  stop(): void {
    this.#cancel()
  }

  /** Resolves with the exit status; 1 when it was killed. */
  async #run(): Promise<number> {
    if (this.#isRunning) return 1
    this.#isRunning = true
    const { status, output } = await runCommand(this.#command)
    this.#isRunning = false
    if (status !== 0) return status
    this.stop()
    const seconds = Number.parseFloat(output.trim())
    const leftMs = Math.max(0, (seconds >= 0 ? seconds * 1000 : LEFT_MS) - STOP_MS)
    this.#components.log.warn({ leftMs }, 'this machine is about to be reclaimed')
    this.#onNotice(leftMs)
    return status
  }
}

function runCommand(command: string): Promise<{ status: number; output: string }> {
  return new Promise((resolve) => {
    exec(command, { timeout: RUN_MS_MAX, maxBuffer: 64 * 1024 }, (error, output) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
      resolve({ status, output })
    })
  })
}
