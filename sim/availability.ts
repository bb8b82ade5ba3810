/*
 * When peers are there. sim/churn makes it from models, traces or a join file; sim/world plays it.
 */

/**
 * What happens to a peer. `up`: it joins. `notice`: it will be taken away and knows it. `down`: it is gone.
 * `freeze`: it is there and does nothing, as a laptop that sleeps; `thaw` ends that.
 */
export type AvailabilityKind = 'up' | 'notice' | 'down' | 'freeze' | 'thaw'

export interface AvailabilityEvent {
  atS: number
  kind: AvailabilityKind
  /** Of `down`: whether what is on its disk is there when it comes back. Default: the scenario's. */
  keepsDisk?: boolean
  /** Of `down`: it does not come back. */
  isForGood?: boolean
}

/** The life of one peer, in order of time, made as it is read: a week of ten thousand peers is never in memory. */
export type AvailabilityOf = (peer: number) => Iterator<AvailabilityEvent>
