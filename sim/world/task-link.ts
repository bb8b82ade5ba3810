import type { CoordinatorEvent } from '../../src/tasks/coordinator-state-core.ts'
import type { WorkerEvent } from '../../src/tasks/worker-state-core.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { TAG } from './tags.ts'

/** What a link carries events to. */
export interface LinkEnd<Event> {
  readonly tag: number
  receive(link: TaskLink, event: Event): void
}

/** A job, as its links see it. */
export interface SubmitterEnd extends LinkEnd<CoordinatorEvent> {
  /** The link has ended, as seen from there. */
  lose(link: TaskLink, reason: string): void
}

/** A submitter's stream to one serving peer: messages arrive in order, one latency later, unless it breaks. */
export class TaskLink {
  readonly peer: string
  readonly session: string
  readonly latencyUs: number
  readonly #kernel: Kernel
  readonly submitter: SubmitterEnd
  readonly #worker: LinkEnd<WorkerEvent>
  /** What is on its way: one bundle for each moment at which something was sent. */
  readonly #toWorker: WorkerEvent[][] = []
  readonly #toSubmitter: CoordinatorEvent[][] = []
  #sentToWorkerUs = -1
  #sentToSubmitterUs = -1
  readonly #madeUs: number
  /** Ended: what is under way arrives nowhere. */
  isOver = false
  /** The network is cut: what is under way waits, and arrives when it is healed in time. */
  isCut = false
  #waiting: ((link: TaskLink) => void)[] = []

  constructor(
    kernel: Kernel,
    names: { peer: string; session: string },
    latencyUs: number,
    submitter: SubmitterEnd,
    worker: LinkEnd<WorkerEvent>,
  ) {
    this.peer = names.peer
    this.session = names.session
    this.latencyUs = latencyUs
    this.#kernel = kernel
    this.#madeUs = kernel.nowUs
    this.submitter = submitter
    this.#worker = worker
  }

  /** Messages of one moment travel together. */
  toWorker(event: WorkerEvent): void {
    const { nowUs } = this.#kernel
    if (this.#sentToWorkerUs === nowUs) return void this.#toWorker.at(-1)?.push(event)
    this.#sentToWorkerUs = nowUs
    this.#toWorker.push([event])
    this.#kernel.after(this.latencyUs, TAG.message + this.#worker.tag, arriveAtWorker, this)
  }

  /** When the submitter last heard of the peer, which says every `aliveEveryUs` that it is there. */
  heardUs(aliveEveryUs: number): number {
    const { nowUs } = this.#kernel
    return Math.max(this.#sentToSubmitterUs, nowUs - ((nowUs - this.#madeUs) % aliveEveryUs)) + this.latencyUs
  }

  toSubmitter(event: CoordinatorEvent): void {
    const { nowUs } = this.#kernel
    if (this.#sentToSubmitterUs === nowUs) return void this.#toSubmitter.at(-1)?.push(event)
    this.#sentToSubmitterUs = nowUs
    this.#toSubmitter.push([event])
    this.#kernel.after(this.latencyUs, TAG.message + this.submitter.tag, arriveAtSubmitter, this)
  }

  arriveAtWorker(): void {
    if (this.isCut) return void this.#waiting.push(arriveAtWorker)
    const events = this.#toWorker.shift() ?? []
    if (this.#toWorker.length === 0) this.#sentToWorkerUs = -1
    for (const event of events) if (!this.isOver) this.#worker.receive(this, event)
  }

  arriveAtSubmitter(): void {
    if (this.isCut) return void this.#waiting.push(arriveAtSubmitter)
    const events = this.#toSubmitter.shift() ?? []
    if (this.#toSubmitter.length === 0) this.#sentToSubmitterUs = -1
    for (const event of events) if (!this.isOver) this.submitter.receive(this, event)
  }

  heal(): void {
    this.isCut = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const arrive of waiting) arrive(this)
  }
}

function arriveAtWorker(link: TaskLink): void {
  link.arriveAtWorker()
}

function arriveAtSubmitter(link: TaskLink): void {
  link.arriveAtSubmitter()
}
