import { every, type Clock } from '../base/clock.ts'
import {
  downloadModel,
  type DownloadProgress,
  type DownloadedModel,
} from '../context-sharing/hub/hub-download.ts'
import { parseHubName, readHubEnvironment } from '../context-sharing/hub/hub-repo.ts'
import type { CommandContext } from './command-context.ts'
import { progressBar, reportEveryMs } from './progress.ts'
import { formatBytes, formatDuration, paint, type Terminal } from './terminal.ts'

/** Downloads a model that "hf:OWNER/NAME" names into Hugging Face's cache, telling how far it is. */
export async function downloadFromHub(
  text: string,
  dtype: string | undefined,
  { clock, terminal, signal }: CommandContext,
): Promise<DownloadedModel> {
  const repo = parseHubName(text)
  const environment = readHubEnvironment(process.env)
  const printer = new DownloadPrinter(clock, terminal, repo.name)
  try {
    const model = await downloadModel({ clock }, repo, {
      environment,
      dtype,
      onProgress: (progress) => printer.follow(progress),
      onWait: (reason, ms) => printer.wait(reason, ms),
      signal,
    })
    printer.stop()
    return model
  } catch (error) {
    printer.stop()
    if (signal.aborted)
      terminal.note(`interrupted; what arrived is kept, and the same command goes on from there`)
    throw error
  }
}

/** A bar on a terminal, a line now and then in a pipe, events with --json. */
class DownloadPrinter {
  readonly #clock: Clock
  readonly #terminal: Terminal
  readonly #model: string
  #cancel: (() => void) | undefined
  #progress: DownloadProgress | undefined
  #beganMs = 0
  /** Bytes that were here before this run. */
  #bytesBefore = 0
  #waiting: string | undefined

  constructor(clock: Clock, terminal: Terminal, model: string) {
    this.#clock = clock
    this.#terminal = terminal
    this.#model = model
  }

  follow(progress: DownloadProgress): void {
    if (this.#progress === undefined) this.#begin(progress)
    if (progress.bytes !== this.#progress?.bytes) this.#waiting = undefined
    this.#progress = progress
  }

  wait(reason: string, ms: number): void {
    this.#waiting = `${reason}; again in ${formatDuration(ms)}`
    this.#terminal.event({ event: 'download-waiting', model: this.#model, reason, ms })
    if (!this.#terminal.isInteractive) this.#terminal.note(`waiting: ${this.#waiting}`)
  }

  /** Says once more how far it came. */
  stop(): void {
    this.#cancel?.()
    if (this.#cancel !== undefined) this.#print()
    this.#cancel = undefined
    this.#terminal.redraw([])
  }

  #begin({ bytes, bytesTotal, filesTotal }: DownloadProgress): void {
    this.#beganMs = this.#clock.nowMs()
    this.#bytesBefore = bytes
    const here = bytes === 0 ? '' : `, ${formatBytes(bytes)} of them are here`
    this.#terminal.note(`${this.#model}: ${filesTotal} files, ${formatBytes(bytesTotal)}${here}`)
    this.#cancel = every(this.#clock, reportEveryMs(this.#terminal), () => this.#print())
  }

  #print(): void {
    const progress = this.#progress
    if (progress === undefined) return
    const { bytes, bytesTotal, files, filesTotal } = progress
    const seconds = Math.max(0.001, (this.#clock.nowMs() - this.#beganMs) / 1_000)
    const rate = (bytes - this.#bytesBefore) / seconds
    const terminal = this.#terminal
    terminal.event({
      event: 'download',
      model: this.#model,
      bytes,
      bytesTotal,
      files,
      filesTotal,
      bytesPerSecond: Math.round(rate),
    })
    const left = rate > 0 ? `, ${formatDuration(((bytesTotal - bytes) * 1_000) / rate)} left` : ''
    const words = `${formatBytes(bytes)} of ${formatBytes(bytesTotal)}, ${files} of ${filesTotal} files, ${formatBytes(rate)}/s${left}`
    if (!terminal.isInteractive) return terminal.note(words)
    const waiting = this.#waiting === undefined ? [] : [paint('yellow', `waiting: ${this.#waiting}`)]
    terminal.redraw([`${progressBar(bytes / Math.max(1, bytesTotal), 30)} ${words}`, ...waiting])
  }
}
