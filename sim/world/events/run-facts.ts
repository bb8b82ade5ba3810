/** What a peer knows of a run, for the measures of the simulator: it travels with the result. */
export interface RunFacts {
  /** GPU time that it took. */
  ranUs: number
  /** From its start to its end; of a fixed lease, of the lease: what a mode pays for each lease included. */
  startedUs: number
  endedUs: number
  /** Whether it is the last of its lease; true without leases. */
  isLast: boolean
}
