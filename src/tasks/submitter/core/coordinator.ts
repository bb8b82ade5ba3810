import { invariant, isCheckDue } from '../../../base/invariants.ts'
import type { Random } from '../../../base/random.ts'
import { contradict, failedOn } from './blame.ts'
import { NEVER_RUNS, type PeerView, type Refusal } from './candidate-book.ts'
import { checkCoordinator, sizeOf } from './coordinator-check.ts'
import type { CoordinatorState, CoordinatorEffect, CoordinatorEvent, Lease } from './coordinator-state.ts'
import { beginCommit, endLease, feed, feedHungry, leaveLease, releasePeer } from './leases.ts'
import { feedDueMs, measureWhenDue, projectedMs, recruitDueMs } from './pace.ts'
import { doubt, forgetDoubt, isFinal, reviewDoubts, wantsJudge } from './second-opinion.ts'
import { takeBack } from './tail.ts'
import type { LeaseKey, Outcome, Phase } from '../../wire/task-messages.ts'

/** Takes one event and returns its effects. The only function that changes a coordinator. */
export function step(
  state: CoordinatorState,
  event: CoordinatorEvent,
  nowMs: number,
  random: Random,
): CoordinatorEffect[] {
  // Messages and timers are still on their way when a job ends.
  if (state.isFinished) return []
  const effects: CoordinatorEffect[] = []
  noteLeap(state, nowMs)
  if (state.book.reachedCount > 1) state.companyAtMs = nowMs
  switch (event.kind) {
    case 'start':
      state.startedAtMs = nowMs
      state.progressAtMs = nowMs
      state.companyAtMs = nowMs
      state.silentAtMs = nowMs + state.options.silenceMs
      tick(state, nowMs, effects)
      break
    case 'candidates':
      for (const candidate of event.candidates) state.book.learn(candidate, random)
      recruit(state, nowMs, effects)
      break
    case 'opened':
      state.book.open(event.peer, nowMs)
      break
    case 'heard':
      state.book.hear(event.peer, nowMs)
      break
    case 'status':
      onStatus(state, event, nowMs, random, effects)
      break
    case 'credit':
      onCredit(state, event.peer, event.requests, nowMs, effects)
      break
    case 'result':
      onResult(state, event, nowMs, random, effects)
      break
    case 'committed':
      onCommitted(state, event.peer, event.key, nowMs, effects)
      break
    case 'returned':
      onReturned(state, event.peer, event.keys, nowMs, effects)
      break
    case 'lost':
      onLost(state, event.peer, event.reason, nowMs, random, effects)
      break
    case 'tick':
      onTick(state, nowMs, random, effects)
      break
  }
  if (state.unsettled === 0 && !state.isFinished) {
    state.isFinished = true
    effects.push({ kind: 'finish' })
  }
  if (isCheckDue(state, sizeOf(state))) checkCoordinator(state)
  return effects
}

/** A linked peer is heard every few seconds, and others are searched for: a longer pause is the machine's own. */
const LEAP_MS = 10_000

/** The time for which this machine slept is no time without progress. */
function noteLeap(state: CoordinatorState, nowMs: number): void {
  const pauseMs = nowMs - state.steppedAtMs
  if (pauseMs > LEAP_MS && state.book.isReached) state.progressAtMs += pauseMs
  state.steppedAtMs = nowMs
}

/** Time without a result or progress after which a job says that it waits, ms. */
const STALLED_MS = 10_000

/** Why nothing runs, as a code and as words; undefined while requests are answered. */
export function explain(state: CoordinatorState, nowMs: number): Refusal | undefined {
  const silentMs = nowMs - state.progressAtMs
  return state.book.explain() ?? (silentMs < STALLED_MS ? undefined : state.book.explainStall(silentMs))
}

function onStatus(
  state: CoordinatorState,
  event: Extract<CoordinatorEvent, { kind: 'status' }>,
  nowMs: number,
  random: Random,
  effects: CoordinatorEffect[],
): void {
  const { peer, phase, reason, detail } = event
  const view = state.book.hear(peer, nowMs)
  // A peer may say something after it was taken as lost.
  if (view === undefined) return
  if (phase === 'refused') {
    effects.push({ kind: 'close', peer, reason: reason ?? 'refused' })
    // The owner wants the machine back, so no request is blamed.
    releasePeer(state, view, nowMs, effects, reason !== 'draining' && reason !== 'paused')
    state.book.refuse(
      peer,
      { code: reason ?? 'refused', words: detail ?? reason ?? 'it refused' },
      nowMs,
      random,
    )
    // Another holder may be found in the first moments of a job.
    if (reason !== undefined && NEVER_RUNS.has(reason))
      state.verdictAtMs = Math.max(nowMs, state.startedAtMs + state.options.aloneMs)
    return
  }
  if (isProgress(view, phase, detail)) state.progressAtMs = nowMs
  state.book.advance(view, phase, detail)
}

/** A peer that failed more often than this begins to fetch or to load again and again. */
const FETCH_FAILURES_MAX = 3

/**
 * Whether a peer got on since it was heard: it fetched more, still loads, or computes. One that failed and
 * begins anew has not.
 */
function isProgress(view: PeerView, phase: Phase, detail: string | undefined): boolean {
  const { phase: before, detail: said, failures } = view
  if (phase === 'fetching') return failures <= FETCH_FAILURES_MAX && (before !== phase || said !== detail)
  if (phase === 'ready') return detail !== undefined || (failures === 0 && before !== phase)
  return failures === 0 && (phase === 'loading' || before !== phase)
}

function onCredit(
  state: CoordinatorState,
  peer: string,
  requests: number,
  nowMs: number,
  effects: CoordinatorEffect[],
): void {
  const view = state.book.hear(peer, nowMs)
  // A peer may say something after it was taken as lost.
  if (view === undefined) return
  view.credit = Math.min(view.credit + requests, state.options.outstandingMax - view.outstanding.size)
  feed(state, view, nowMs, effects)
}

function onResult(
  state: CoordinatorState,
  event: Extract<CoordinatorEvent, { kind: 'result' }>,
  nowMs: number,
  random: Random,
  effects: CoordinatorEffect[],
): void {
  const { peer, key, outcome } = event
  // Results may come late, twice, or from a peer that was sent nothing, as after it was taken as lost.
  const view = state.book.hear(peer, nowMs) ?? state.book.get(peer)
  const held = state.leases.get(key.n)
  // A result under an old epoch does not concern the peer's present lease.
  if (view !== undefined && held?.epoch === key.epoch) takeBack(view, key.n, outcome !== 'retry', nowMs)
  const isWanted =
    held === undefined
      ? mayRedeliver(state, event)
      : !held.isCommitting && mayAnswer(held, peer, key.epoch, outcome)
  if (!isWanted || state.doubts.get(key.n)?.peers.includes(peer) === true) {
    state.staleCount += 1
    effects.push({ kind: 'acknowledge', peer, keys: [key] })
  } else if (held !== undefined && outcome === 'retry') {
    effects.push({ kind: 'acknowledge', peer, keys: [key] })
    failedOn(state, held, peer, nowMs, random, effects)
  } else if (outcome === 'bad-request' && !isFinal(state, event)) {
    state.progressAtMs = nowMs
    doubt(state, event, nowMs, effects)
  } else {
    settleWith(state, event, held, effects)
    if (outcome === 'ok') contradict(state, key.n, nowMs, random, effects)
  }
}

/** The request's one result is committed. */
function settleWith(
  state: CoordinatorState,
  { peer, key }: Extract<CoordinatorEvent, { kind: 'result' }>,
  held: Lease | undefined,
  effects: CoordinatorEffect[],
): void {
  if (held === undefined) {
    invariant(state.pending.settle(key.n), 'a redelivered result is of a pending request', { request: key.n })
    state.committing.add(key.n)
  } else {
    beginCommit(held)
    const view = state.book.get(peer)
    if (view !== undefined) {
      view.resultCount += 1
      if (view.contradicted < state.options.failuresInRowMax) state.book.forgive(view)
    }
  }
  effects.push({ kind: 'commit', peer, key })
}

/**
 * Only a peer that was sent the request under its newest epoch answers for it: any peer can guess a key. One
 * that was lost since then may still bring an answer; a failure of it is counted already.
 */
function mayAnswer({ peers, left, epoch }: Lease, peer: string, ofEpoch: number, outcome: Outcome): boolean {
  if (epoch !== ofEpoch) return false
  return peers.includes(peer) || (outcome !== 'retry' && left?.includes(peer) === true)
}

/** Whether a result of a revoked lease, or of an earlier run of this job, still counts: its request is pending. */
function mayRedeliver(
  state: CoordinatorState,
  { peer, key, outcome }: Extract<CoordinatorEvent, { kind: 'result' }>,
): boolean {
  const ended = state.ended.get(key.n)
  const isOwn = ended?.epoch === key.epoch && ended.holders.includes(peer)
  return isOwn && outcome !== 'retry' && !state.committing.has(key.n)
}

function onCommitted(
  state: CoordinatorState,
  peer: string | undefined,
  key: LeaseKey,
  nowMs: number,
  effects: CoordinatorEffect[],
): void {
  const held = state.leases.get(key.n)
  if (held === undefined)
    invariant(state.committing.delete(key.n), 'what is committed was to be', { request: key.n, peer })
  else
    invariant(held.isCommitting && held.epoch === key.epoch, 'the lease that is committed was to be', {
      request: key.n,
      epoch: held.epoch,
      committed: key.epoch,
    })
  if (peer !== undefined) effects.push({ kind: 'acknowledge', peer, keys: [key] })
  for (const other of held?.peers ?? []) {
    if (other === peer) continue
    const view = state.book.get(other)
    // A peer that was lost while the result was committed may be forgotten by now.
    if (view !== undefined) takeBack(view, key.n, false, nowMs)
    effects.push({ kind: 'cancel', peer: other, keys: [key] })
  }
  state.progressAtMs = nowMs
  state.leases.delete(key.n)
  state.ended.delete(key.n)
  state.failures.delete(key.n)
  state.losses.delete(key.n)
  forgetDoubt(state, key.n)
  state.unsettled -= 1
  state.settledCount += 1
}

function onLost(
  state: CoordinatorState,
  peer: string,
  reason: string,
  nowMs: number,
  random: Random,
  effects: CoordinatorEffect[],
): void {
  const view = state.book.get(peer)
  // Its link also ends when we close it, and then it is lost already.
  if (view === undefined || view.phase === 'known') return
  releasePeer(state, view, nowMs, effects)
  state.book.lose(peer, reason, nowMs, random)
  recruit(state, nowMs, effects)
}

/** Takes back the requests of a draining peer: they go to another peer at once, and count as no failure. */
function onReturned(
  state: CoordinatorState,
  peer: string,
  keys: readonly LeaseKey[],
  nowMs: number,
  effects: CoordinatorEffect[],
): void {
  const view = state.book.hear(peer, nowMs)
  // A peer may say something after it was taken as lost.
  if (view === undefined) return
  view.credit = 0
  view.accepts = false
  state.hungry.delete(peer)
  for (const { n, epoch } of keys) {
    const held = state.leases.get(n)
    // It may be given back twice, or by a peer that never had it.
    if (held?.epoch !== epoch || !leaveLease(held, peer)) continue
    view.outstanding.delete(n)
    if (held.isCommitting || held.peers.length > 0) continue
    endLease(state, held)
    state.pending.giveBack(n, nowMs)
  }
  feedHungry(state, nowMs, effects)
}

function onTick(state: CoordinatorState, nowMs: number, random: Random, effects: CoordinatorEffect[]): void {
  if (nowMs >= state.silentAtMs) loseSilent(state, nowMs, random, effects)
  tick(state, nowMs, effects)
}

/** Drops silent peers; no other peer can time out before `silentAtMs`. */
function loseSilent(
  state: CoordinatorState,
  nowMs: number,
  random: Random,
  effects: CoordinatorEffect[],
): void {
  const { silenceMs } = state.options
  // A newly linked peer counts as heard now.
  let heardAtMs = nowMs
  for (const view of state.book.openPeers()) {
    if (nowMs - view.heardAtMs < silenceMs) {
      heardAtMs = Math.min(heardAtMs, view.heardAtMs)
      continue
    }
    const reason = `it was silent for ${silenceMs} ms`
    effects.push({ kind: 'close', peer: view.peer, reason })
    releasePeer(state, view, nowMs, effects)
    state.book.lose(view.peer, reason, nowMs, random)
  }
  state.silentAtMs = heardAtMs + silenceMs
}

function tick(state: CoordinatorState, nowMs: number, effects: CoordinatorEffect[]): void {
  if (nowMs >= recruitDueMs(state)) recruit(state, nowMs, effects)
  if (nowMs >= state.findAtMs && state.book.hasRoom) {
    state.findAtMs = nowMs + state.options.findEveryMs
    effects.push({ kind: 'find' })
  }
  if (nowMs >= feedDueMs(state)) feedHungry(state, nowMs, effects)
  reviewDoubts(state, nowMs, effects)
  if (nowMs >= state.verdictAtMs) giveUpIfNeverRuns(state, effects)
  giveUpIfStuck(state, nowMs, effects)
}

/** Opens links to the best known peers: warm, then stored, then those that could fetch, if that pays off. */
function recruit(state: CoordinatorState, nowMs: number, effects: CoordinatorEffect[]): void {
  if (!state.book.hasRoom) return
  measureWhenDue(state, nowMs)
  const leftMs = projectedMs(state)
  state.recruitAtMs = state.pace.perSecond === 0 ? Infinity : state.pace.measureAtMs
  const peers = state.book.recruits(nowMs, leftMs, state.pace.requestMs)
  if (peers.length === 0 && wantsJudge(state)) peers.push(...state.book.recruitJudge(nowMs))
  for (const peer of peers) {
    state.book.connect(peer, nowMs)
    effects.push({ kind: 'open', peer })
  }
}

/** Every holder says that the context can never run there: waiting would not help. */
function giveUpIfNeverRuns(state: CoordinatorState, effects: CoordinatorEffect[]): void {
  state.verdictAtMs = Infinity
  const reason = state.book.neverRuns ? state.book.explain() : undefined
  if (reason === undefined) return
  state.isFinished = true
  effects.push({ kind: 'give-up', reason })
}

function giveUpIfStuck(state: CoordinatorState, nowMs: number, effects: CoordinatorEffect[]): void {
  const silentMs = nowMs - state.progressAtMs
  if (state.isFinished || silentMs < state.options.giveUpMs || state.doubts.size > 0) return
  const reason = state.book.explain() ?? state.book.explainStall(silentMs)
  state.isFinished = true
  effects.push({ kind: 'give-up', reason })
}
