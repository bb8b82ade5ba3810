import type { Cancel, Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Replicator } from '../../context-sharing/replication/replicator.ts'
import type { AdvertExchange } from '../../dht/advert/advert-exchange.ts'
import { finishMs } from '../../tasks/worker/core/drain.ts'
import type { Worker } from '../../tasks/worker/worker.ts'
import type { ContextTiers } from './context-tiers.ts'

export interface DepartureComponents {
  worker: Worker
  replicator: Replicator
  tiers: ContextTiers
  adverts: AdvertExchange
  clock: Clock
  log: Logger
}

export interface DrainOptions {
  /** The longest time that the shutdown may take, ms. */
  deadlineMs: number
  /** For the log and the owner: 'SIGTERM', 'hearth drain', … */
  why: string
}

/** The progress of a clean shutdown. */
export interface DrainStatus {
  why: string
  leftMs: number
  isDone: boolean
  /** Requests in the engine. */
  running: number
  /** Contexts that other peers are copying now. */
  handingOver: string[]
  /** Contexts that no other peer is known to hold. */
  onlyHere: string[]
}

export interface DrainReport {
  onlyHere: string[]
}

/**
 * A clean shutdown: the peer takes no more requests, returns unstarted ones, advertises that it drains,
 * has other peers copy contexts that only it holds, and withdraws its DHT records. When it is begun twice,
 * the earlier deadline counts.
 */
export class Departure {
  /** Aborted when the shutdown begins. */
  readonly begun: AbortSignal
  /** Resolves when it is ready to be stopped. */
  readonly done: Promise<DrainReport>
  readonly #components: DepartureComponents
  readonly #begun = new AbortController()
  readonly #done = Promise.withResolvers<DrainReport>()
  /** `finish` is aborted when running requests must be returned, `deadline` when everything must end. */
  readonly #finish = new AbortController()
  readonly #deadline = new AbortController()
  #cancels: Cancel[] = []
  #deadlineAtMs = Number.POSITIVE_INFINITY
  #why = ''
  #report: DrainReport | undefined

  constructor(components: DepartureComponents) {
    this.#components = components
    this.begun = this.#begun.signal
    this.done = this.#done.promise
  }

  /** Resolves as `done` does. */
  async drain({ deadlineMs, why }: DrainOptions): Promise<DrainReport> {
    const { clock, log } = this.#components
    this.#cancels.push(
      clock.schedule(finishMs(deadlineMs), () => this.#finish.abort()),
      clock.schedule(deadlineMs, () => this.#deadline.abort()),
    )
    this.#deadlineAtMs = Math.min(this.#deadlineAtMs, clock.nowMs() + deadlineMs)
    if (!this.begun.aborted) {
      this.#why = why
      log.info({ why, deadlineMs }, 'this peer leaves')
      this.#begun.abort()
      this.#leave().then(this.#done.resolve, this.#done.reject)
    }
    return await this.done
  }

  /** Undefined before the shutdown begins. */
  get status(): DrainStatus | undefined {
    if (!this.begun.aborted) return undefined
    const { worker, replicator, clock } = this.#components
    return {
      why: this.#why,
      leftMs: Math.max(0, Math.round(this.#deadlineAtMs - clock.nowMs())),
      isDone: this.#report !== undefined,
      running: worker.status().running,
      handingOver: replicator
        .status()
        .contexts.filter(({ making }) => making > 0)
        .map(({ contextId }) => contextId),
      onlyHere: this.#report?.onlyHere ?? replicator.onlyHere(),
    }
  }

  async #leave(): Promise<DrainReport> {
    const { worker, replicator, tiers, adverts } = this.#components
    const worked = worker.drain(this.#finish.signal)
    const handedOver = replicator.drain(this.#deadline.signal)
    // Tell others at once to send nothing here, and not to count the copies of this peer.
    adverts.changed()
    const [, report] = await Promise.all([worked, handedOver])
    for (const cancel of this.#cancels) cancel()
    this.#report = report
    tiers.withdraw()
    return report
  }
}
