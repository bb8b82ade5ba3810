/** Facts about one run of a request. They travel with the result, for the simulator's measures. */
export interface RunFacts {
  /** GPU time that it took. */
  ranUs: number
  /** From its start to its end; of a fixed lease, of the lease: what a mode pays for each lease included. */
  startedUs: number
  endedUs: number
  /** Whether it is the last of its lease; true without leases. */
  isLast: boolean
}
