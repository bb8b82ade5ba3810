import { pick, type Random } from '../../../base/random.ts'
import { backoffMs, withJitter } from '../../../base/waiting/backoff.ts'

/** The facts by which a peer decides how to join its swarm, or stay in it. */
export interface JoinView {
  /** Peers in the routing table. */
  tableSize: number
  /** Other peers heard of, whether or not they answer. */
  othersKnown: number
  /** Known addresses whose peer is not connected. */
  undialled: readonly string[]
  /** Whether anybody was ever known: the first peer of a swarm has nobody to look for. */
  isAlone: boolean
  /** Rounds in a row that left the table too small. */
  failures: number
  /** Rounds in a row that did not. */
  successes: number
}

export interface JoinTiming {
  /** Shortest and longest wait after a round that left the table too small, ms. */
  retryMinMs: number
  retryMaxMs: number
  /**
   * Shortest and longest wait after a round that did not, ms. It starts short, because a peer that starts
   * together with others finds only the few that were quicker.
   */
  restMinMs: number
  restMaxMs: number
  /** Longest wait while the table is below `tableWanted`, though nobody else is known, ms. */
  smallRestMaxMs: number
  /** A table of this size is enough, or of all others known if they are fewer. */
  tableWanted: number
}

/** Whether the routing table is large enough to rest. */
export function isSettled(view: JoinView, timing: JoinTiming): boolean {
  if (view.isAlone) return true
  return view.tableSize > 0 && view.tableSize >= Math.min(timing.tableWanted, view.othersKnown)
}

/**
 * The address to dial in this round, if any: a random one, so that a stampede spreads over all known
 * peers. A settled peer dials one as well, so that two halves of a swarm that formed while their
 * common bootstrap peer was down find each other.
 */
export function addressToDial(view: JoinView, random: Random): string | undefined {
  return pick(random, view.undialled)
}

/** How long to wait before the next round, ms: with jitter, so that those who started together drift apart. */
export function waitBeforeNextRound(view: JoinView, timing: JoinTiming, random: Random): number {
  if (!isSettled(view, timing))
    return withJitter(backoffMs(timing.retryMinMs, timing.retryMaxMs, view.failures + 1), random)
  const restMaxMs = view.tableSize < timing.tableWanted ? timing.smallRestMaxMs : timing.restMaxMs
  return withJitter(backoffMs(timing.restMinMs, restMaxMs, view.successes + 1), random)
}
