import type { TaskTimes } from '../run-result.ts'
import type { RunFacts } from './run-facts.ts'

export interface Task {
  job: number
  n: number
  peer: number
  facts: RunFacts
  committedUs: number
}

/** How long requests ran: every one counts, so many are kept for the quantiles and for tasks.csv. */
export class TaskRecorder {
  readonly #keptMax: number
  readonly kept: Task[] = []
  #count = 0
  #sumS = 0
  #sumSquares = 0
  #minS = Number.POSITIVE_INFINITY
  #maxS = 0

  constructor(keptMax: number) {
    this.#keptMax = keptMax
  }

  add(task: Task): void {
    const seconds = (task.facts.endedUs - task.facts.startedUs) / 1e6
    this.#count += 1
    this.#sumS += seconds
    this.#sumSquares += seconds * seconds
    this.#minS = Math.min(this.#minS, seconds)
    this.#maxS = Math.max(this.#maxS, seconds)
    if (this.kept.length < this.#keptMax) this.kept.push(task)
  }

  times(): TaskTimes {
    const count = this.#count
    const meanS = count === 0 ? 0 : this.#sumS / count
    const sorted = Float64Array.from(this.kept, ({ facts }) => (facts.endedUs - facts.startedUs) / 1e6).sort()
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
}
