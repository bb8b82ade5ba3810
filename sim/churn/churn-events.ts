/** An event of one peer of a fleet. `atMs` is whole milliseconds of simulated time, so that rounding
 * differences of a logarithm cannot change the order of two events. */
export type ChurnEvent = { atMs: number; peer: number } & (
  | {
      kind: 'up'
      /** Whether what it had on disk before is still there. A peer that comes for the first time has nothing. */
      isDiskKept: boolean
    }
  /** It has been told that it goes down at `downAtMs`. */
  | { kind: 'notice'; downAtMs: number }
  | { kind: 'down'; cause: DownCause; isForEver: boolean }
  /** It stops answering and forgets nothing, as a laptop whose lid is closed; `thaw` ends it. */
  | { kind: 'freeze' }
  | { kind: 'thaw' }
)

/** `owner`: its own session ended. `preempted`: it was taken together with others of its group. */
export type DownCause = 'owner' | 'preempted'

/** The churn of a fleet, event by event, in the order of time. Peers are numbered from 0. */
export interface ChurnSource {
  /** The next event; undefined after the last one. */
  next(): ChurnEvent | undefined
}
