import type { ChurnEvent, ChurnSource } from '../churn/churn-events.ts'
import type { Trace } from './trace.ts'

/**
 * Replays a trace. Each peer gets a number when it first joins, and keeps its disk when it returns.
 * A peer that is no longer observed counts as gone.
 */
export class TraceChurn implements ChurnSource {
  readonly #events: Iterator<ChurnEvent, void>

  constructor(trace: Trace) {
    this.#events = eventsOf(trace)
  }

  next(): ChurnEvent | undefined {
    return this.#events.next().value ?? undefined
  }
}

function* eventsOf({ events }: Trace): Generator<ChurnEvent, void> {
  const numbers = new Map<string, number>()
  const up = new Set<string>()
  for (const { atMs, peer: name, kind } of events) {
    const peer = numbers.get(name) ?? numbers.size
    const isUp = kind === 'up'
    if (isUp === up.has(name)) continue
    if (isUp) {
      yield { kind: 'up', atMs: Math.round(atMs), peer, isDiskKept: numbers.has(name) }
      up.add(name)
    } else {
      yield { kind: 'down', atMs: Math.round(atMs), peer, cause: 'preempted', isForEver: false }
      up.delete(name)
    }
    numbers.set(name, peer)
  }
}
