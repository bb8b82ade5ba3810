import { mix } from './mix.ts'
import { EventHeap } from './event-heap.ts'

/** The handle that `at` returns, for `cancel`. */
export type EventHandle = number

/** The handle of no event: cancelling it does nothing. */
export const NO_EVENT: EventHandle = 0

const SLOT_BITS = 22
const SLOTS_MAX = 2 ** SLOT_BITS
const WORD = 2 ** 32

/** The action of an event. It receives the scheduled arguments, so that no closure is allocated per event. */
export type Run<Subject> = (subject: Subject) => void

/** Virtual time: runs what was scheduled, in order, and keeps a hash of all that ran. */
export class Kernel {
  #heap = new EventHeap()
  #runs: (Run<never> | undefined)[] = []
  #subjects: unknown[] = []
  #tags: number[] = []
  /** How often each slot was used: an old handle does not cancel the slot's next event. */
  #uses: number[] = []
  #free: number[] = []
  #sequence = 0
  #isStopped = false
  #high = 0x243f6a88
  #low = 0x13198a2e
  /** Integer microseconds since the run began. */
  nowUs = 0
  /** Events that ran. */
  count = 0

  get nowS(): number {
    return this.nowUs / 1e6
  }

  get nowMs(): number {
    return this.nowUs / 1e3
  }

  /** The hash of the time and tag of every event so far: 16 hex digits. */
  get hash(): string {
    return [this.#high, this.#low].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
  }

  /**
   * Runs `run`, with its subject if it has one, at `timeUs`, made an integer, and not before now. `tag` goes
   * into the hash: what kind of event it is, and whose.
   */
  at(timeUs: number, tag: number, run: () => void): EventHandle
  at<Subject>(timeUs: number, tag: number, run: Run<Subject>, subject: Subject): EventHandle
  at<Subject>(timeUs: number, tag: number, run: Run<Subject>, subject?: Subject): EventHandle {
    const slot = this.#free.pop() ?? this.#runs.length
    if (slot >= SLOTS_MAX) throw new RangeError(`more than ${SLOTS_MAX} events are scheduled at once`)
    this.#runs[slot] = run
    this.#subjects[slot] = subject
    this.#tags[slot] = tag
    const uses = (this.#uses[slot] ?? 0) + 1
    this.#uses[slot] = uses
    this.#heap.push(Math.max(this.nowUs, Math.round(timeUs)), this.#sequence++, slot)
    return uses * SLOTS_MAX + slot
  }

  after(delayUs: number, tag: number, run: () => void): EventHandle
  after<Subject>(delayUs: number, tag: number, run: Run<Subject>, subject: Subject): EventHandle
  after<Subject>(delayUs: number, tag: number, run: Run<Subject>, subject?: Subject): EventHandle {
    return this.at(this.nowUs + delayUs, tag, run, subject as Subject)
  }

  /** Does nothing when it has run, or was cancelled. */
  cancel(handle: EventHandle): void {
    const uses = Math.floor(handle / SLOTS_MAX)
    const slot = handle - uses * SLOTS_MAX
    if (this.#uses[slot] !== uses) return
    this.#runs[slot] = undefined
    this.#subjects[slot] = undefined
  }

  /** Puts a value of a decision into the hash. */
  note(value: number): void {
    this.#low = mix(this.#low ^ value)
    this.#high = mix((this.#high + this.#low) | 0)
  }

  /** Runs until `untilUs`, until nothing is left, or until `stop`. Time then stands where it ended. */
  run(untilUs: number): void {
    this.#isStopped = false
    for (;;) {
      const firstUs = this.#heap.firstUs
      if (firstUs > untilUs) {
        this.nowUs = Math.max(this.nowUs, Math.min(untilUs, firstUs))
        return
      }
      const slot = this.#heap.pop()
      const run = this.#runs[slot]
      const subject = this.#subjects[slot]
      this.#runs[slot] = undefined
      this.#subjects[slot] = undefined
      this.#free.push(slot)
      if (run === undefined) continue
      this.nowUs = firstUs
      this.count += 1
      const high = Math.floor(firstUs / WORD)
      this.note((firstUs - high * WORD) ^ high ^ (this.#tags[slot] as number))
      run(subject as never)
      if (this.#isStopped) return
    }
  }

  stop(): void {
    this.#isStopped = true
  }
}
