import type { EventHandle, Kernel, Run } from '../../kernel/kernel.ts'

export interface Timer {
  readonly timers: Timers
  /** Its place among those of its peer; −1 once it is over. */
  place: number
  handle: EventHandle
  dueUs: number
  readonly run: Run<never>
  readonly subject: unknown
}

/** The timers of one peer. They stand still while the peer is frozen, and are dropped when it is killed. */
export class Timers {
  readonly #kernel: Kernel
  readonly #tag: number
  #timers: Timer[] = []
  #frozenUs: number | undefined

  constructor(kernel: Kernel, tag: number) {
    this.#kernel = kernel
    this.#tag = tag
  }

  get nowUs(): number {
    return this.#kernel.nowUs
  }

  after(delayUs: number, run: () => void): Timer
  after<Subject>(delayUs: number, run: Run<Subject>, subject: Subject): Timer
  after<Subject>(delayUs: number, run: Run<Subject>, subject?: Subject): Timer {
    const timer: Timer = { timers: this, place: -1, handle: 0, dueUs: 0, run, subject }
    this.again(timer, delayUs)
    return timer
  }

  /** Starts one of its timers anew that is over. */
  again(timer: Timer, delayUs: number): void {
    timer.place = this.#timers.length
    timer.dueUs = this.#kernel.nowUs + delayUs
    this.#timers.push(timer)
    if (this.#frozenUs === undefined) this.#schedule(timer)
  }

  /** Does nothing when it has run. */
  cancel(timer: Timer): void {
    if (this.#remove(timer)) this.#kernel.cancel(timer.handle)
  }

  freeze(): void {
    this.#frozenUs = this.#kernel.nowUs
    for (const { handle } of this.#timers) this.#kernel.cancel(handle)
  }

  thaw(): void {
    if (this.#frozenUs === undefined) return
    const stoodStillUs = this.#kernel.nowUs - this.#frozenUs
    this.#frozenUs = undefined
    for (const timer of this.#timers) {
      timer.dueUs += stoodStillUs
      this.#schedule(timer)
    }
  }

  clear(): void {
    for (const timer of this.#timers) {
      timer.place = -1
      this.#kernel.cancel(timer.handle)
    }
    this.#timers = []
    this.#frozenUs = undefined
  }

  /** Its time has come. */
  fire(timer: Timer): void {
    this.#remove(timer)
    timer.run(timer.subject as never)
  }

  /** The last one takes its place. */
  #remove(timer: Timer): boolean {
    const { place } = timer
    if (place < 0) return false
    timer.place = -1
    const last = this.#timers.pop() as Timer
    if (last === timer) return true
    last.place = place
    this.#timers[place] = last
    return true
  }

  #schedule(timer: Timer): void {
    timer.handle = this.#kernel.at(timer.dueUs, this.#tag, fire, timer)
  }
}

function fire(timer: Timer): void {
  timer.timers.fire(timer)
}
