import type { Random } from '../../src/base/random.ts'
import type { Arrivals } from './arrivals.ts'
import type { Distribution } from './distribution.ts'
import type { Rhythm } from './rhythm.ts'

/** How the peers of a fleet come and go. All times in ms. */
export interface ChurnModel {
  sessions: Sessions
  /** Groups that lose several peers at one moment: zones, racks, submitters of a batch system. */
  bulk?: BulkPreemption | undefined
  /** Peers that come for the first time after the start. */
  arrivals?: Arrivals | undefined
}

/** The on/off life of one peer. */
export interface Sessions {
  /** How long it stays, and how long it stays away. */
  up: Distribution
  down: Distribution
  /**
   * The peers that are up at time 0. `stationary` draws the state of each peer and its remaining time as if
   * churn had always run; `all-up` begins a new session on every peer; `all-down` a new absence.
   */
  start: 'stationary' | 'all-up' | 'all-down'
  departure: Departure
  /** The rhythm of leaving; returning follows its opposite. */
  rhythm?: (Omit<Rhythm, 'offsetHours'> & { offsetsHours: readonly number[] }) | undefined
}

/** How sessions end. Shares are probabilities in [0, 1], drawn for each departure. */
export interface Departure {
  /** How long before its end a peer hears of it, and how often it does. */
  noticeMs: number
  noticeShare: number
  /** It freezes, and thaws with all that it had. */
  freezeShare: number
  /** It never comes back. */
  forEverShare: number
  /** It comes back with an empty disk. */
  wipeShare: number
}

export interface BulkPreemption {
  /** Peers are dealt out to so many groups in turn. */
  groups: number
  /** How often a group is hit. */
  perHour: number
  /** How many of its peers are taken at once: rounded, at least 1, at most all that are up. */
  size: Distribution
  victims: 'random' | 'newest' | 'oldest'
  noticeMs: number
  /** How long the places of those taken stay empty. */
  refill: Distribution
}

/** No notice, no freezing, everybody comes back with the disk they had. */
export const PLAIN_DEPARTURE: Departure = {
  noticeMs: 0,
  noticeShare: 0,
  freezeShare: 0,
  forEverShare: 0,
  wipeShare: 0,
}

/** Random numbers for one use by one peer or group: the same whatever else is drawn. */
export type Streams = (entity: number, purpose: string) => Random
