import { distance, type Id } from './routing-table.ts'

type State = 'new' | 'asked' | 'answered' | 'failed'

/**
 * One iterative Kademlia lookup as plain state: who is to be asked next, and whether it is over. It is
 * over when the `width` closest peers that did not fail have answered.
 */
export class Lookup {
  readonly target: Id
  readonly #width: number
  readonly #parallel: number
  readonly #states = new Map<Id, State>()
  /** All that were heard of and have not failed, closest first. */
  #heard: Id[] = []
  #underWay = 0

  constructor(target: Id, width: number, parallel: number) {
    this.target = target
    this.#width = width
    this.#parallel = parallel
  }

  hear(ids: readonly Id[]): void {
    for (const id of ids) {
      if (this.#states.has(id)) continue
      this.#states.set(id, 'new')
      this.#heard.splice(this.#placeOf(id), 0, id)
    }
  }

  /** The peers to ask now, up to the limit of parallel questions. Marks them as asked. */
  next(): Id[] {
    const chosen: Id[] = []
    for (const id of this.#heard.slice(0, this.#width)) {
      if (this.#underWay >= this.#parallel) break
      if (this.#states.get(id) !== 'new') continue
      this.#states.set(id, 'asked')
      this.#underWay += 1
      chosen.push(id)
    }
    return chosen
  }

  answered(id: Id, closer: readonly Id[]): void {
    this.#underWay -= 1
    this.#states.set(id, 'answered')
    this.hear(closer)
  }

  failed(id: Id): void {
    this.#underWay -= 1
    this.#states.set(id, 'failed')
    this.#heard = this.#heard.filter((other) => other !== id)
  }

  get isOver(): boolean {
    return (
      this.#underWay === 0 && !this.#heard.slice(0, this.#width).some((id) => this.#states.get(id) === 'new')
    )
  }

  /** The closest peers that answered. */
  get found(): Id[] {
    return this.#heard.filter((id) => this.#states.get(id) === 'answered').slice(0, this.#width)
  }

  #placeOf(id: Id): number {
    const wanted = distance(id, this.target)
    let low = 0
    let high = this.#heard.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (distance(this.#heard[middle] ?? 0, this.target) < wanted) low = middle + 1
      else high = middle
    }
    return low
  }
}
