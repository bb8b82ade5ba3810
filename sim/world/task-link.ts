import type { CoordinatorEvent } from '../../src/tasks/coordinator-state-core.ts'
import type { WorkerEvent } from '../../src/tasks/worker-state-core.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { TAG } from './tags.ts'

/** What a link carries events to. */
export interface LinkEnd<Event> {
  readonly tag: number
  receive(link: TaskLink, event: Event): void
}

/** A submitter's stream to one serving peer: messages arrive in order, one latency later, unless it breaks. */
export class TaskLink {
  readonly peer: string
  readonly session: string
  readonly latencyUs: number
  readonly #kernel: Kernel
  readonly #submitter: LinkEnd<CoordinatorEvent>
  readonly #worker: LinkEnd<WorkerEvent>
  #toWorker: WorkerEvent[] = []
  #toSubmitter: CoordinatorEvent[] = []
  #sentToWorkerUs = -1
  #sentToSubmitterUs = -1
  /** Ended: what is under way arrives nowhere. */
  isOver = false
  /** The network is cut: what is under way waits, and arrives when it is healed in time. */
  isCut = false
  #waiting: (() => void)[] = []

  constructor(
    kernel: Kernel,
    names: { peer: string; session: string },
    latencyUs: number,
    submitter: LinkEnd<CoordinatorEvent>,
    worker: LinkEnd<WorkerEvent>,
  ) {
    this.peer = names.peer
    this.session = names.session
    this.latencyUs = latencyUs
    this.#kernel = kernel
    this.#submitter = submitter
    this.#worker = worker
  }

  /** Messages of one moment travel together. */
  toWorker(event: WorkerEvent): void {
    const { nowUs } = this.#kernel
    if (this.#sentToWorkerUs !== nowUs) {
      this.#sentToWorkerUs = nowUs
      this.#toWorker = []
      const events = this.#toWorker
      this.#kernel.after(this.latencyUs, TAG.message + this.#worker.tag, () => {
        this.#arrive(() => {
          for (const one of events) if (!this.isOver) this.#worker.receive(this, one)
        })
      })
    }
    this.#toWorker.push(event)
  }

  toSubmitter(event: CoordinatorEvent): void {
    const { nowUs } = this.#kernel
    if (this.#sentToSubmitterUs !== nowUs) {
      this.#sentToSubmitterUs = nowUs
      this.#toSubmitter = []
      const events = this.#toSubmitter
      this.#kernel.after(this.latencyUs, TAG.message + this.#submitter.tag, () => {
        this.#arrive(() => {
          for (const one of events) if (!this.isOver) this.#submitter.receive(this, one)
        })
      })
    }
    this.#toSubmitter.push(event)
  }

  heal(): void {
    this.isCut = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const arrive of waiting) arrive()
  }

  #arrive(arrive: () => void): void {
    if (this.isCut) this.#waiting.push(arrive)
    else arrive()
  }
}
