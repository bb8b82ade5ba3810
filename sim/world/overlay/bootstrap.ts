import { addressToDial, waitBeforeNextRound, type JoinView } from '../../../src/dht/join/core/join.ts'
import { JOIN_TIMINGS } from '../../../src/dht/timings.ts'
import type { Random } from '../../../src/base/random.ts'
import type { Timers } from '../events/timers.ts'

const ADDRESS = 'bootstrap'

/** The peer through which those join that know nobody: while it is down, they try again and again, as core/join has it. */
export class Bootstrap {
  readonly #losses: readonly { fromS: number; untilS: number }[]
  readonly #nowS: () => number

  constructor(losses: readonly { fromS: number; untilS: number }[], nowS: () => number) {
    this.#losses = losses
    this.#nowS = nowS
  }

  /** Calls `onJoined` once the peer is in: at once when it knows others from before. */
  join(knowsOthers: boolean, timers: Timers, random: () => Random, onJoined: () => void): void {
    if (knowsOthers || this.#isUp()) return onJoined()
    this.#dial(0, timers, random(), onJoined)
  }

  #dial(failures: number, timers: Timers, random: Random, onJoined: () => void): void {
    const view: JoinView = {
      tableSize: 0,
      othersKnown: 1,
      undialled: [ADDRESS],
      isAlone: false,
      failures,
      successes: 0,
    }
    if (addressToDial(view, random) === ADDRESS && this.#isUp()) return onJoined()
    // The dial that fails says so late: its host is gone.
    const waitUs = 1000 * (JOIN_TIMINGS.dialDeadlineMs + waitBeforeNextRound(view, JOIN_TIMINGS, random))
    timers.after(waitUs, () => this.#dial(failures + 1, timers, random, onJoined))
  }

  #isUp(): boolean {
    const nowS = this.#nowS()
    return !this.#losses.some(({ fromS, untilS }) => nowS >= fromS && nowS < untilS)
  }
}
