import type { TaskTimes } from '../runs/result/run-result.ts'
import type { RunFacts } from './events/run-facts.ts'

export interface Task {
  job: number
  n: number
  peer: number
  startedUs: number
  endedUs: number
  ranUs: number
  committedUs: number
}

type CommittedTask = Pick<Task, 'job' | 'n' | 'peer' | 'committedUs'>

/** Numbers of one task, one after the other. */
const COLUMNS = 7

/** How long requests ran: every one counts, so many are kept for the quantiles and for tasks.csv. */
export class TaskRecorder {
  readonly #keptMax: number
  #rows = new Float64Array(COLUMNS * 1024)
  #count = 0
  #sumS = 0
  #sumSquares = 0
  #minS = Number.POSITIVE_INFINITY
  #maxS = 0

  constructor(keptMax: number) {
    this.#keptMax = keptMax
  }

  add({ job, n, peer, committedUs }: CommittedTask, facts: RunFacts): void {
    const { startedUs, endedUs, ranUs } = facts
    const seconds = (endedUs - startedUs) / 1e6
    if (this.#count < this.#keptMax) {
      let at = this.#placeOfNext()
      const rows = this.#rows
      rows[at++] = job
      rows[at++] = n
      rows[at++] = peer
      rows[at++] = startedUs
      rows[at++] = endedUs
      rows[at++] = ranUs
      rows[at] = committedUs
    }
    this.#count += 1
    this.#sumS += seconds
    this.#sumSquares += seconds * seconds
    this.#minS = Math.min(this.#minS, seconds)
    this.#maxS = Math.max(this.#maxS, seconds)
  }

  /** Those that are kept, in the order in which they were committed. */
  *kept(): Iterable<Task> {
    const rows = this.#rows
    for (let index = 0; index < this.#keptCount; index += 1) {
      const [job, n, peer, startedUs, endedUs, ranUs, committedUs] = rows.subarray(
        COLUMNS * index,
        COLUMNS * (index + 1),
      ) as unknown as [number, number, number, number, number, number, number]
      yield { job, n, peer, startedUs, endedUs, ranUs, committedUs }
    }
  }

  times(): TaskTimes {
    const count = this.#count
    const meanS = count === 0 ? 0 : this.#sumS / count
    const sorted = this.#secondsOfKept().sort()
    const at = (share: number): number =>
      sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
    return {
      count,
      meanS,
      sdS: count < 2 ? 0 : Math.sqrt(Math.max(0, this.#sumSquares / count - meanS * meanS)),
      minS: count === 0 ? 0 : this.#minS,
      p50S: at(0.5),
      p95S: at(0.95),
      p99S: at(0.99),
      maxS: this.#maxS,
    }
  }

  get #keptCount(): number {
    return Math.min(this.#count, this.#keptMax)
  }

  #placeOfNext(): number {
    const at = COLUMNS * this.#count
    if (at < this.#rows.length) return at
    const rows = new Float64Array(2 * this.#rows.length)
    rows.set(this.#rows)
    this.#rows = rows
    return at
  }

  #secondsOfKept(): Float64Array {
    const seconds = new Float64Array(this.#keptCount)
    for (let index = 0, at = 3; index < seconds.length; index += 1, at += COLUMNS)
      seconds[index] = ((this.#rows[at + 1] as number) - (this.#rows[at] as number)) / 1e6
    return seconds
  }
}
