// Decides what a failed request and a contradicted error mean for the peers that gave them.
import type { Random } from '../../../base/random.ts'
import { backoffMs, withJitter } from '../../../base/waiting/backoff.ts'
import type { PeerView } from './candidate-book.ts'
import type { CoordinatorEffect, CoordinatorState, Lease } from './coordinator-state.ts'
import { failLease, giveBack, leaveLease, releasePeer } from './leases.ts'

/** A peer could not run a request: another gets it, until too many have failed on it. */
export function failedOn(
  state: CoordinatorState,
  held: Lease,
  peer: string,
  nowMs: number,
  random: Random,
  effects: CoordinatorEffect[],
): void {
  leaveLease(held, peer)
  const failures = [...(state.failures.get(held.request) ?? []), peer]
  state.failures.set(held.request, failures)
  const { failedPeersMax, attemptsMax, retryMs, retryMsMax } = state.options
  const peers = new Set(failures).size
  if (peers >= failedPeersMax || failures.length >= attemptsMax) {
    const message = `${peers} peers failed on this request, ${failures.length} times in all`
    failLease(state, held, 'attempts-exhausted', message, effects)
  } else if (held.peers.length === 0) {
    const waitMs = withJitter(backoffMs(retryMs, retryMsMax, failures.length), random)
    giveBack(state, held, nowMs + waitMs, nowMs, effects)
  }
  blame(state, peer, nowMs, random, effects)
}

/** Avoids a peer that fails on one request after another: the peer is the cause, not the requests. */
function blame(
  state: CoordinatorState,
  peer: string,
  nowMs: number,
  random: Random,
  effects: CoordinatorEffect[],
): void {
  const view = state.book.get(peer)
  // The rest of a message may come after the peer was left alone for the beginning of it.
  if (view === undefined || view.phase === 'known') return
  view.failuresInRow += 1
  if (view.failuresInRow < state.options.failuresInRowMax) return
  avoid(state, view, `it failed on ${view.failuresInRow} requests in a row`, nowMs, random, effects)
}

/** A peer answered a request that others refused: they are the cause of their errors, not the request. */
export function contradict(
  state: CoordinatorState,
  request: number,
  nowMs: number,
  random: Random,
  effects: CoordinatorEffect[],
): void {
  for (const peer of state.doubts.get(request)?.peers ?? []) {
    const view = state.book.get(peer)
    if (view === undefined) continue
    view.contradicted += 1
    const isReached = view.phase !== 'known' && view.phase !== 'connecting'
    if (!isReached || view.contradicted < state.options.failuresInRowMax) continue
    const words = `it refused ${view.contradicted} requests that another peer answered`
    avoid(state, view, words, nowMs, random, effects)
  }
}

function avoid(
  state: CoordinatorState,
  view: PeerView,
  words: string,
  nowMs: number,
  random: Random,
  effects: CoordinatorEffect[],
): void {
  effects.push({ kind: 'close', peer: view.peer, reason: words })
  releasePeer(state, view, nowMs, effects)
  state.book.refuse(view.peer, { code: 'failing', words }, nowMs, random)
}
