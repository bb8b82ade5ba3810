import type { CoordinatorEvent } from '../../../src/tasks/submitter/core/coordinator-state.ts'
import type { WorkerEvent } from '../../../src/tasks/worker/core/worker-state.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { GpuMeter } from './gpu-meter.ts'
import { TAG } from '../events/tags.ts'

/** The receiver of the events of a link. */
export interface LinkEnd<Event> {
  readonly tag: number
  receive(link: TaskLink, event: Event): void
}

/** A peer, as its links see it. */
export interface WorkerEnd extends LinkEnd<WorkerEvent> {
  readonly number: number
  readonly meter: GpuMeter
  /** Done there, and committed. */
  inferences: number
  firstResultUs: number | undefined
}

/** A job, as its links see it. */
export interface SubmitterEnd extends LinkEnd<CoordinatorEvent> {
  /** The link has ended, as seen from there. */
  lose(link: TaskLink, reason: string): void
}

/** Messages of one moment on their way to one end. */
interface Parcel<Event> {
  readonly link: TaskLink
  readonly first: Event
  more: Event[] | undefined
}

/** A submitter's stream to one serving peer: messages arrive in order, one latency later, unless it breaks. */
export class TaskLink {
  readonly peer: string
  readonly session: string
  readonly latencyUs: number
  readonly #kernel: Kernel
  readonly submitter: SubmitterEnd
  readonly worker: WorkerEnd
  /** The last message in each direction, until it arrives. */
  #toWorker: Parcel<WorkerEvent> | undefined
  #toSubmitter: Parcel<CoordinatorEvent> | undefined
  #sentToWorkerUs = -1
  #sentToSubmitterUs = -1
  readonly #madeUs: number
  /** Whether it is the one that its submitter has to the peer. */
  isInUse = true
  /** Ended: what is under way arrives nowhere. */
  isOver = false
  /** The network is cut: what is under way waits, and arrives when it is healed in time. */
  isCut = false
  #waiting: (() => void)[] | undefined

  constructor(
    kernel: Kernel,
    { peer, session, latencyUs }: { peer: string; session: string; latencyUs: number },
    submitter: SubmitterEnd,
    worker: WorkerEnd,
  ) {
    this.peer = peer
    this.session = session
    this.latencyUs = latencyUs
    this.#kernel = kernel
    this.#madeUs = kernel.nowUs
    this.submitter = submitter
    this.worker = worker
  }

  /** Messages of one moment travel together. */
  toWorker(event: WorkerEvent): void {
    const { nowUs } = this.#kernel
    if (this.#toWorker !== undefined && this.#sentToWorkerUs === nowUs) return add(this.#toWorker, event)
    this.#sentToWorkerUs = nowUs
    this.#toWorker = { link: this, first: event, more: undefined }
    this.#kernel.after(this.latencyUs, TAG.message + this.worker.tag, arriveAtWorker, this.#toWorker)
  }

  /** When the submitter last heard of the peer, which says every `aliveEveryUs` that it is there. */
  heardUs(aliveEveryUs: number): number {
    const { nowUs } = this.#kernel
    const sentUs = this.#toSubmitter === undefined ? -1 : this.#sentToSubmitterUs
    return Math.max(sentUs, nowUs - ((nowUs - this.#madeUs) % aliveEveryUs)) + this.latencyUs
  }

  toSubmitter(event: CoordinatorEvent): void {
    const { nowUs } = this.#kernel
    if (this.#toSubmitter !== undefined && this.#sentToSubmitterUs === nowUs)
      return add(this.#toSubmitter, event)
    this.#sentToSubmitterUs = nowUs
    this.#toSubmitter = { link: this, first: event, more: undefined }
    this.#kernel.after(this.latencyUs, TAG.message + this.submitter.tag, arriveAtSubmitter, this.#toSubmitter)
  }

  arriveAtWorker(parcel: Parcel<WorkerEvent>): void {
    if (this.isCut) return this.#wait(() => this.arriveAtWorker(parcel))
    if (this.#toWorker === parcel) this.#toWorker = undefined
    const { first, more } = parcel
    if (!this.isOver) this.worker.receive(this, first)
    if (more !== undefined) for (const event of more) if (!this.isOver) this.worker.receive(this, event)
  }

  arriveAtSubmitter(parcel: Parcel<CoordinatorEvent>): void {
    if (this.isCut) return this.#wait(() => this.arriveAtSubmitter(parcel))
    if (this.#toSubmitter === parcel) this.#toSubmitter = undefined
    const { first, more } = parcel
    if (!this.isOver) this.submitter.receive(this, first)
    if (more !== undefined) for (const event of more) if (!this.isOver) this.submitter.receive(this, event)
  }

  heal(): void {
    this.isCut = false
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const arrive of waiting) arrive()
  }

  #wait(arrive: () => void): void {
    this.#waiting ??= []
    this.#waiting.push(arrive)
  }
}

function add<Event>(parcel: Parcel<Event>, event: Event): void {
  if (parcel.more === undefined) parcel.more = [event]
  else parcel.more.push(event)
}

function arriveAtWorker(parcel: Parcel<WorkerEvent>): void {
  parcel.link.arriveAtWorker(parcel)
}

function arriveAtSubmitter(parcel: Parcel<CoordinatorEvent>): void {
  parcel.link.arriveAtSubmitter(parcel)
}
