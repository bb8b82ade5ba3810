import { HearthError } from '../../../base/errors.ts'
import { FETCHES_MAX } from '../../../base/limits.ts'
import type { FetchPriority } from '../../wire/messages.ts'

/** From the one that matters least. */
const PRIORITIES: readonly FetchPriority[] = ['background', 'normal', 'urgent']

/** One wanted context and its number of waiters. */
export interface WantedFetch<Key> {
  readonly key: Key
  /** The highest priority of all waiters so far. */
  priority: FetchPriority
  waiters: number
  phase: 'waiting' | 'running' | 'over'
}

/**
 * Which contexts one peer fetches now and which wait for their turn: one fetch a context however many ask for
 * it, few at a time, and the first that was asked for first.
 */
export class FetchQueue<Key> {
  readonly #runningMax: number
  /** A few, in the order in which they were first asked for. */
  #wanted: WantedFetch<Key>[] = []

  constructor(runningMax: number = FETCHES_MAX) {
    this.#runningMax = runningMax
  }

  /** One more waits for the context. */
  want(key: Key, priority: FetchPriority): WantedFetch<Key> {
    const known = this.#wanted.find((wanted) => wanted.key === key)
    if (known === undefined) {
      const wanted: WantedFetch<Key> = { key, priority, waiters: 1, phase: 'waiting' }
      this.#wanted.push(wanted)
      return wanted
    }
    known.waiters += 1
    if (PRIORITIES.indexOf(priority) > PRIORITIES.indexOf(known.priority)) known.priority = priority
    return known
  }

  /** Removes one waiter. Returns whether it was the last: then the fetch is no longer needed. */
  leave(wanted: WantedFetch<Key>): boolean {
    if (wanted.waiters === 0) throw impossible('a waiter left twice')
    wanted.waiters -= 1
    return wanted.waiters === 0
  }

  /** The fetch whose turn it is; undefined when none waits, or enough are running. It runs from here on. */
  next(): WantedFetch<Key> | undefined {
    const running = this.#wanted.filter(({ phase }) => phase === 'running').length
    if (running >= this.#runningMax) return undefined
    const next = this.#wanted.find(({ phase }) => phase === 'waiting')
    if (next !== undefined) next.phase = 'running'
    return next
  }

  /** Queues an interrupted fetch again; it keeps its place before later ones. */
  putBack(wanted: WantedFetch<Key>): void {
    if (wanted.phase !== 'running') throw impossible(`a fetch that is ${wanted.phase} was put back`)
    wanted.phase = 'waiting'
  }

  /** Removes a fetch that has ended or is no longer wanted. */
  end(wanted: WantedFetch<Key>): void {
    if (wanted.phase === 'over') throw impossible('a fetch ended twice')
    wanted.phase = 'over'
    this.#wanted = this.#wanted.filter((other) => other !== wanted)
  }
}

function impossible(what: string): HearthError {
  return new HearthError('internal', what)
}
