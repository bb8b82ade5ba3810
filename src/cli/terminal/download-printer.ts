import { every, type Clock } from '../../base/clock.ts'
import type { DownloadProgress } from '../../context-sharing/hub/hub-download.ts'
import { progressBar, reportEveryMs } from './progress.ts'
import { formatBytes, formatDuration, paint, shortPeer, type Terminal } from './terminal.ts'

/** Prints the progress of a download: a bar on a terminal, lines in a pipe, events with --json. */
export class DownloadPrinter {
  readonly #clock: Clock
  readonly #terminal: Terminal
  readonly #model: string
  #cancel: (() => void) | undefined
  #progress: DownloadProgress | undefined
  #beganMs = 0
  /** Bytes downloaded before this run. */
  #bytesBefore = 0
  #waiting: string | undefined
  #peerWaitedFor: string | undefined
  #toldMs = -Infinity

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

  /** Printed before the first answer, which may take a minute. */
  asking(endpoint: string): void {
    const words = `looking up ${this.#model} at ${endpoint}`
    if (this.#terminal.isInteractive) this.#terminal.redraw([words])
    else this.#terminal.note(words)
  }

  /** The hub fails in a way that may pass. Printed at once, because the next answer may take half a minute. */
  wait(reason: string, ms: number): void {
    this.#waiting = `${reason}; next attempt in ${formatDuration(ms)}`
    this.#terminal.event({ event: 'download-waiting', model: this.#model, reason, ms })
    if (!this.#terminal.isInteractive) this.#terminal.note(`waiting: ${this.#waiting}`)
    else if (this.#cancel === undefined) this.#terminal.redraw([paint('yellow', `waiting: ${this.#waiting}`)])
  }

  /** Another peer downloads the model, or has the first turn. Called about once a second. */
  waitForPeer(peer: string | undefined, done: string): void {
    const words =
      peer === undefined
        ? `another peer that wants ${this.#model} too downloads it first`
        : `peer ${shortPeer(peer)} downloads ${this.#model} from the hub (${done}); this peer then copies it from there`
    this.#terminal.event({ event: 'origin-waiting', model: this.#model, peer: peer ?? null, done })
    if (this.#terminal.isInteractive) return this.#terminal.redraw([paint('yellow', `waiting: ${words}`)])
    const nowMs = this.#clock.nowMs()
    if (this.#peerWaitedFor === peer && nowMs - this.#toldMs < reportEveryMs(this.#terminal)) return
    this.#peerWaitedFor = peer
    this.#toldMs = nowMs
    this.#terminal.note(`waiting: ${words}`)
  }

  /** Prints the progress a last time. */
  stop(): void {
    this.#cancel?.()
    if (this.#cancel !== undefined) this.#print()
    this.#cancel = undefined
    this.#progress = undefined
    this.#terminal.redraw([])
  }

  #begin({ bytes, bytesTotal, filesTotal }: DownloadProgress): void {
    this.#beganMs = this.#clock.nowMs()
    this.#bytesBefore = bytes
    const here = bytes === 0 ? '' : `, ${formatBytes(bytes)} already here`
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
