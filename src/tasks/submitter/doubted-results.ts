// The error results that no second peer has confirmed yet: core/second-opinion decides what becomes of them.
import { present } from '../../base/invariants.ts'
import type { CommitEntry } from '../journal/journal.ts'
import type { LeaseKey, TaskResult } from '../wire/task-messages.ts'

/** Longer error bodies are cut to their code and a message of this length, because many of them may wait. */
const BODY_UNITS_MAX = 4_096
const MESSAGE_UNITS_MAX = 1_024

interface ErrorBody {
  code: string
  message: string
}

export class DoubtedResults {
  /** The last error of each request. */
  readonly #entries = new Map<number, CommitEntry>()

  keep({ peer, result }: CommitEntry): void {
    const body = result.body.length <= BODY_UNITS_MAX ? result.body : shortened(result.body)
    this.#entries.set(result.n, { peer, result: { ...result, body } })
  }

  /** The error of a request as its result, under the epoch of its newest lease; it says that nobody confirmed it. */
  accept({ n, epoch }: LeaseKey): CommitEntry {
    const { peer, result } = present(this.#entries.get(n), 'what is accepted was kept', { request: n })
    const body = JSON.stringify({ ...(JSON.parse(result.body) as ErrorBody), unconfirmed: true })
    return { peer, result: { ...result, epoch, body } }
  }

  forget(n: number): void {
    this.#entries.delete(n)
  }
}

/** The code in the body of a checked error. */
export function errorCode({ body }: TaskResult): string {
  return (JSON.parse(body) as ErrorBody).code
}

function shortened(body: string): string {
  const { code, message } = JSON.parse(body) as ErrorBody
  return JSON.stringify({ code, message: message.slice(0, MESSAGE_UNITS_MAX) })
}
