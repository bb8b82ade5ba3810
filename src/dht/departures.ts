import type { Cancel, Clock } from '../base/clock.ts'
import { sleep } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log/logger.ts'
import type { Random } from '../base/random.ts'
import { DepartureChecks, type DeparturesOptions } from './core/departures.ts'
import type { Members } from './members.ts'
import { DEPARTURES_TIMINGS } from './timings.ts'

export interface DeparturesComponents {
  members: Members
  clock: Clock
  random: Random
  log: Logger
  /** Called when a member is gone: it hung up, and does not answer a dial. */
  onGone: (peer: string) => void
}

/**
 * The shell of core/departures: tells a peer that is gone from a connection that was merely dropped, with one dial. Without it, what
 * a dead peer said would stand until it expires, and kad-dht would ask it for ever.
 */
export class Departures {
  readonly #components: DeparturesComponents
  readonly #options: DeparturesOptions
  readonly #checks: DepartureChecks<string>
  #cancel: Cancel = () => {}
  #stopped = new AbortController()

  constructor(components: DeparturesComponents, options: DeparturesOptions = DEPARTURES_TIMINGS) {
    this.#components = components
    this.#options = options
    this.#checks = new DepartureChecks(options)
  }

  start(): void {
    this.#stopped = new AbortController()
    this.#cancel = this.#components.members.onLeave((peer) => void this.#check(peer))
  }

  stop(): void {
    this.#cancel()
    this.#stopped.abort(new Error('stopped'))
  }

  async #check(peer: string): Promise<void> {
    const { members, clock, random, log, onGone } = this.#components
    const { signal } = this.#stopped
    const waitMs = this.#checks.begin(peer, random)
    if (waitMs === undefined) return
    try {
      await sleep(clock, waitMs, signal)
      if (members.list().includes(peer)) return
      await members.meet({ peer, addresses: [] }, { deadlineMs: this.#options.dialDeadlineMs, signal })
    } catch (error) {
      if (signal.aborted || members.list().includes(peer)) return
      log.info({ peer, error: messageOf(error) }, 'member is gone')
      onGone(peer)
    } finally {
      this.#checks.end(peer)
    }
  }
}
