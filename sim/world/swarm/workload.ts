import type { Random } from '../../../src/base/random.ts'
import { normal } from '../../churn/distribution.ts'
import type { RandomStreams } from '../../kernel/random-streams.ts'
import type { Work } from '../../scenarios/schema.ts'

/** How much work the requests of one job are: the same whoever runs them. */
export class Workload {
  readonly #work: Work
  readonly #lengths: (request: number) => Random
  readonly #batch: number
  readonly inferences: number
  /** Requests of the job. */
  readonly requests: number

  constructor(
    job: string,
    { inferences, batch, work }: { inferences: number; batch: number; work: Work },
    streams: RandomStreams,
  ) {
    this.#batch = batch
    this.#work = work
    this.#lengths = streams.family(job, 'length')
    this.inferences = inferences
    this.requests = Math.ceil(inferences / batch)
  }

  inferencesOf(request: number): number {
    return Math.min(this.#batch, this.inferences - request * this.#batch)
  }

  /** Seconds that the request runs where an inference of mean length takes `inferenceS`. */
  runS(request: number, inferenceS: number): number {
    const count = this.inferencesOf(request)
    const empties = this.#emptiesOf(request, count)
    const emptyS = empties * (this.#work.empties?.inferenceS ?? 0)
    const prompts = count - empties
    return prompts === 0 ? emptyS : emptyS + prompts * inferenceS * this.#length(request, prompts)
  }

  #emptiesOf(request: number, count: number): number {
    const { empties } = this.#work
    if (empties === undefined) return 0
    const from = request * this.#batch
    return Math.max(0, Math.min(from + count, empties.from + empties.count) - Math.max(from, empties.from))
  }

  /** Mean length of so many inferences, over the mean of all: log-normal. */
  #length(request: number, prompts: number): number {
    const { variation } = this.#work
    if (variation === 0) return 1
    const sigma = Math.sqrt(Math.log1p((variation * variation) / prompts))
    return Math.exp(sigma * normal(this.#lengths(request)) - (sigma * sigma) / 2)
  }
}
