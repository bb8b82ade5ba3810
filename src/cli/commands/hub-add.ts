import { askPeer, followPeer } from '../../api/control-client.ts'
import type { OriginWish } from '../../api/origin-routes.ts'
import { every, sleep } from '../../base/clock.ts'
import { isHearthError } from '../../base/errors.ts'
import type { ImportResult } from '../../context-sharing/store/context-store.ts'
import type { FetchProgress, FetchResult } from '../../context-sharing/download/fetch.ts'
import { type DownloadedModel, HubDownload, modelInCache } from '../../context-sharing/hub/hub-download.ts'
import { type HubEnvironment, parseHubName, readHubEnvironment } from '../../context-sharing/hub/hub-repo.ts'
import type { OriginVerdict } from '../../context-sharing/origin/core/origin.ts'
import type { OriginPhase } from '../../context-sharing/wire/origin-messages.ts'
import type { ControlAccess } from '../../node/home/data-folder.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { pathOf } from './context-upkeep.ts'
import { fetchReport } from './context-get.ts'
import { DownloadPrinter } from '../terminal/download-printer.ts'
import { formatBytes } from '../terminal/terminal.ts'

export interface HubAddOptions {
  name?: string
  dtype?: string
  /** Downloads from the hub, even when other peers have the model or are downloading it. */
  alone?: boolean
}

export interface HubAdded extends ImportResult {
  commit: string
  from: 'hub' | 'peers'
}

/** Imports a folder through the running peer, or directly into the store. */
export type ImportFolder = (folder: string) => Promise<ImportResult>

/** Interval at which the swarm is asked, ms. */
const ASK_EVERY_MS = 1_000

interface Running {
  controller: AbortController
  result: Promise<DownloadedModel>
  bytes: number
}

/**
 * `hearth context add hf:OWNER/NAME`: adds a model of a hub. One peer of the swarm downloads it; the others
 * wait, copy it from peers, and check it against the hub's file list: docs/protocol/origin.md.
 * Downloads directly when no peer runs here, or no other peer wants the model.
 */
export class HubAdd {
  readonly #context: CommandContext
  readonly #options: HubAddOptions
  readonly #import: ImportFolder
  readonly #environment: HubEnvironment
  readonly #printer: DownloadPrinter
  readonly #source: string
  #running: Running | undefined

  constructor(source: string, options: HubAddOptions, context: CommandContext, importFolder: ImportFolder) {
    this.#source = source
    this.#options = options
    this.#context = context
    this.#import = importFolder
    this.#environment = readHubEnvironment(process.env)
    this.#printer = new DownloadPrinter(context.clock, context.terminal, parseHubName(source).name)
  }

  async run(): Promise<HubAdded> {
    const { clock, data, signal, terminal } = this.#context
    const repo = parseHubName(this.#source)
    if (this.#environment.isOffline) return await this.#imported(await modelInCache(repo, this.#environment))
    try {
      const onWait = (reason: string, ms: number): void => this.#printer.wait(reason, ms)
      const options = { environment: this.#environment, dtype: this.#options.dtype, onWait, signal }
      this.#printer.asking(this.#environment.endpoint)
      const model = await HubDownload.plan({ clock }, repo, options)
      const access = this.#options.alone === true ? undefined : data.control()
      const { originId } = model
      const isInCache = (await model.bytesHeld()) === model.bytesTotal
      if (access === undefined || originId === undefined || isInCache) return await this.#downloaded(model)
      return await this.#withSwarm(model, originId, access)
    } catch (error) {
      this.#printer.stop()
      if (signal.aborted)
        terminal.note('Stopped. Run the same command again to resume; downloaded bytes are kept')
      throw error
    }
  }

  async #withSwarm(model: HubDownload, originId: string, access: ControlAccess): Promise<HubAdded> {
    const { clock, signal } = this.#context
    const refused: string[] = []
    try {
      for (;;) {
        const verdict = await this.#ask(access, originId, this.#phase(), refused)
        if (verdict.kind === 'stored') {
          const added = await this.#takenFromPeers(model, verdict.contextId, access)
          if (added !== undefined) return added
          refused.push(verdict.contextId)
          continue
        }
        if (verdict.kind === 'download') this.#running ??= this.#begin(model)
        else await this.#waitFor(verdict, model)
        const pause = sleep(clock, ASK_EVERY_MS, signal)
        const downloaded = await (this.#running === undefined
          ? pause
          : Promise.race([pause, this.#running.result]))
        if (downloaded !== undefined) return await this.#importing(downloaded, originId, access)
      }
    } finally {
      await this.#pause()
      await askPeer(access, `${originPath(originId)}/release`, {}).catch(() => {})
    }
  }

  #phase(): OriginPhase {
    return this.#running === undefined
      ? { type: 'waiting' }
      : { type: 'downloading', bytes: this.#running.bytes }
  }

  /** Downloads directly when the local peer has stopped meanwhile, because it can no longer ask others. */
  async #ask(
    access: ControlAccess,
    originId: string,
    phase: OriginPhase,
    refused: readonly string[],
  ): Promise<OriginVerdict> {
    const wish: OriginWish = { phase, refused }
    try {
      return await askPeer<OriginVerdict>(access, originPath(originId), wish, this.#context.signal)
    } catch (error) {
      this.#context.signal.throwIfAborted()
      if (isHearthError(error, 'peer-unreachable')) return { kind: 'download' }
      throw error
    }
  }

  #begin(model: HubDownload): Running {
    const controller = new AbortController()
    const signal = AbortSignal.any([controller.signal, this.#context.signal])
    const running: Running = {
      controller,
      bytes: 0,
      result: this.#download(model, signal, (bytes) => (running.bytes = bytes)),
    }
    // Each wait reports a failure; between two waits this keeps it from being an unhandled rejection.
    running.result.catch(() => {})
    return running
  }

  async #download(
    model: HubDownload,
    signal: AbortSignal,
    onBytes: (bytes: number) => void = () => {},
  ): Promise<DownloadedModel> {
    return await model.run({
      environment: this.#environment,
      onProgress: (progress) => {
        onBytes(progress.bytes)
        this.#printer.follow(progress)
      },
      onWait: (reason, ms) => this.#printer.wait(reason, ms),
      signal,
    })
  }

  async #downloaded(model: HubDownload): Promise<HubAdded> {
    return await this.#imported(await this.#download(model, this.#context.signal))
  }

  /** Stops a running download and keeps its bytes. */
  async #pause(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    if (running === undefined) return
    running.controller.abort(new Error('another peer has downloaded more of it'))
    await running.result.catch(() => {})
    this.#printer.stop()
  }

  async #waitFor(verdict: OriginVerdict & { kind: 'wait' }, model: HubDownload): Promise<void> {
    await this.#pause()
    const { peer, bytes, isImporting } = verdict
    const done = isImporting ? 'all of it' : `${formatBytes(bytes)} of ${formatBytes(model.bytesTotal)}`
    this.#printer.waitForPeer(peer, done)
  }

  /** Keeps telling other peers, while the model is hashed, that it will soon be here. */
  async #importing(model: DownloadedModel, originId: string, access: ControlAccess): Promise<HubAdded> {
    const say = (): void => void this.#ask(access, originId, { type: 'importing' }, []).catch(() => {})
    const stopSaying = every(this.#context.clock, ASK_EVERY_MS, say)
    try {
      return await this.#imported(model)
    } finally {
      stopSaying()
    }
  }

  async #imported({ folder, commit, leftOut, choice }: DownloadedModel): Promise<HubAdded> {
    this.#printer.stop()
    const result = await this.#import(folder)
    return { ...result, leftOut: leftOut ?? result.leftOut, ...choice, commit, from: 'hub' }
  }

  /** Undefined when no peer could send it, or it differs from the hub's file list. */
  async #takenFromPeers(
    model: HubDownload,
    contextId: string,
    access: ControlAccess,
  ): Promise<HubAdded | undefined> {
    const { terminal, signal } = this.#context
    await this.#pause()
    const path = pathOf(contextId)
    const report = fetchReport(this.#context)
    let fetched: FetchResult
    try {
      fetched = await followPeer<{ progress: FetchProgress; result: FetchResult }>(
        access,
        `${path}/get`,
        report,
        signal,
      )
    } catch (error) {
      const isElsewhere =
        isHearthError(error, 'context-unavailable') || isHearthError(error, 'context-invalid')
      if (signal.aborted || !isElsewhere) throw error
      terminal.note(`Cannot copy ${contextId} from peers: ${error.message}`)
      return undefined
    }
    terminal.redraw([])
    const fault = await model.faultOf(fetched.folder)
    if (fault !== undefined) {
      terminal.note(
        `Peers offer ${contextId} as this model, but it differs from the hub: ${fault}. Trying another source`,
      )
      if (fetched.sources.length > 0) await askPeer(access, `${path}/remove`, { force: true }, signal)
      return undefined
    }
    await askPeer(access, `${path}/pin`, { isPinned: true }, signal)
    const { name } = this.#options
    if (name !== undefined) await askPeer(access, `${path}/name`, { name }, signal)
    const { commit, leftOut, files, choice } = model
    const size = { bytes: fetched.bytesTotal, files: files.length }
    return { contextId, ...size, leftOut, ...choice, commit, from: 'peers' }
  }
}

function originPath(originId: string): string {
  return `/v0/origins/${originId}`
}
