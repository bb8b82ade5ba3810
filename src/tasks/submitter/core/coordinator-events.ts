import type { EventSink, LoggedEvent } from '../../../base/log/event-log.ts'
import type { CoordinatorEffect, CoordinatorEvent } from './coordinator-state.ts'

/** The event log of a job: docs/protocol/event-log.md. Changes together with that page. */
export const JOB_LOG_SCHEMA: { log: 'hearth-job'; version: 1 } = { log: 'hearth-job', version: 1 }

/**
 * Writes what a coordinator hears and decides, one line each, whoever drives its core: a peer or the
 * simulator. Heartbeats, clock ticks and adverts that say nothing new are left out.
 */
export class CoordinatorEvents {
  readonly #sink: EventSink
  /** The last advert of each candidate. */
  readonly #candidates = new Map<string, string>()

  constructor(sink: EventSink) {
    this.#sink = sink
  }

  /** Logs an event and what the core decided on it. */
  add(event: CoordinatorEvent, effects: readonly CoordinatorEffect[]): void {
    this.#addEvent(event)
    for (const effect of effects) {
      const line = effectLine(effect)
      if (line !== undefined) this.#sink.add(line)
    }
  }

  #addEvent(event: CoordinatorEvent): void {
    switch (event.kind) {
      case 'tick':
      case 'heard':
        return
      case 'candidates':
        for (const candidate of event.candidates) {
          const said = `${candidate.tier} ${candidate.accepts} ${candidate.reason ?? ''}`
          if (this.#candidates.get(candidate.peer) === said) continue
          this.#candidates.set(candidate.peer, said)
          this.#sink.add({ kind: 'candidate', ...candidate })
        }
        return
      case 'result':
      case 'committed': {
        const { key, ...rest } = event
        this.#sink.add({ ...rest, ...key })
        return
      }
      default:
        this.#sink.add(event)
    }
  }
}

/** A decision as a line; acknowledgements and commits follow from the events and are left out. */
function effectLine(effect: CoordinatorEffect): LoggedEvent | undefined {
  switch (effect.kind) {
    case 'find':
    case 'commit':
    case 'acknowledge':
      return undefined
    case 'send':
      return { kind: 'send', peer: effect.peer, leases: effect.leases.map(({ n, epoch }) => [n, epoch]) }
    case 'cancel':
      return { kind: 'cancel', peer: effect.peer, leases: effect.keys.map(({ n, epoch }) => [n, epoch]) }
    case 'doubt':
    case 'accept': {
      const { key, ...rest } = effect
      return { ...rest, ...key }
    }
    case 'fail':
      return { kind: 'fail', ...effect.key, code: effect.code, message: effect.message }
    default:
      return effect
  }
}
