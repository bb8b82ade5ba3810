import { invariant, present } from '../../../base/invariants.ts'
import type { PeerView } from './candidate-book.ts'
import type { CoordinatorState, Doubt, Lease } from './coordinator-state.ts'

/** How many entries of the state a check walks. */
export function sizeOf({ book, pending, ...state }: CoordinatorState): number {
  const { leases, ended, failures, losses, doubts } = state
  const maps = [leases, ended, failures, losses, doubts]
  return maps.reduce((sum, { size }) => sum + size, book.size + pending.entries)
}

/** Throws `internal` when an invariant of a job's coordination does not hold between two steps. */
export function checkCoordinator(state: CoordinatorState): void {
  state.book.check()
  checkRequests(state)
  for (const [request, lease] of state.leases) {
    checkLease(state, request, lease)
    if (!lease.isCommitting) for (const peer of lease.peers) checkHolder(state, request, peer)
  }
  for (const [request, doubt] of state.doubts) checkDoubt(state, request, doubt)
  for (const view of state.book.all()) checkPeer(state, view)
  for (const peer of state.hungry) {
    const credit = state.book.get(peer)?.credit ?? 0
    invariant(credit > 0, 'a hungry peer has credit', { peer, credit })
  }
}

/** Every request is in one place, and what is remembered of it is forgotten once it is settled. */
function checkRequests({ pending, leases, committing, ...state }: CoordinatorState): void {
  const isPending = pending.check()
  const { requests, unsettled, settledCount, isFinished } = state
  const sum = pending.size + leases.size + committing.size
  invariant(sum === unsettled, 'what is not settled is pending, leased or being committed', {
    sum,
    unsettled,
  })
  invariant(unsettled + settledCount === requests, 'what is settled is counted', { unsettled, settledCount })
  invariant(unsettled > 0 || isFinished, 'a job ends when all is settled')
  for (const request of leases.keys())
    invariant(!isPending(request), 'what is leased is not pending', { request })
  for (const request of committing) {
    const isElsewhere = isPending(request) || leases.has(request)
    invariant(!isElsewhere, 'what is being committed is neither pending nor leased', { request })
  }
  const isUnsettled = (request: number): boolean =>
    isPending(request) || leases.has(request) || committing.has(request)
  for (const remembered of [state.ended, state.failures, state.losses, state.doubts]) {
    for (const request of remembered.keys())
      invariant(isUnsettled(request), 'nothing is remembered of what is settled', { request })
  }
}

function checkLease(state: CoordinatorState, request: number, lease: Lease): void {
  const { epoch, peers, isCommitting } = lease
  const before = state.ended.get(request)?.epoch ?? 0
  const copiesMax = Math.max(1, state.options.copiesMax)
  invariant(lease.request === request, 'a lease is filed under its request', {
    request,
    filed: lease.request,
  })
  invariant(epoch > before, 'a lease has a newer epoch than the one before', { request, epoch, before })
  invariant(new Set(peers).size === peers.length, 'a peer holds a lease once', { request, peers })
  invariant(peers.length <= copiesMax, 'no more peers hold a lease than may', { request, peers })
  invariant(isCommitting || peers.length > 0, 'somebody holds a lease', { request, epoch })
}

function checkDoubt({ leases, options }: CoordinatorState, request: number, { peers, codes }: Doubt): void {
  const hasEachOnce = peers.length > 0 && new Set(peers).size === peers.length
  invariant(hasEachOnce && codes.length === peers.length, 'a peer is in doubt once', { request, peers })
  invariant(new Set(codes).size === codes.length, 'an error that two peers give is final', { request, codes })
  invariant(peers.length < options.failedPeersMax, 'a request is in doubt with few peers', { request, peers })
  const lease = leases.get(request)
  const judge = lease?.isCommitting === true ? undefined : lease?.peers.find((peer) => peers.includes(peer))
  invariant(judge === undefined, 'no peer confirms itself', { request, judge })
}

function checkHolder({ book }: CoordinatorState, request: number, peer: string): void {
  const view = present(book.get(peer), 'a lease is held by peers that are known', { request, peer })
  const hasIt = view.outstanding.has(request)
  invariant(hasIt, 'who holds a lease was sent its request', { request, peer })
}

function checkPeer({ leases, hungry, options }: CoordinatorState, view: PeerView): void {
  const { peer, phase, credit, outstanding } = view
  const isReached = phase !== 'known' && phase !== 'connecting'
  const room = options.outstandingMax - outstanding.size
  invariant(credit >= 0 && credit <= room, 'credit fits what a peer may have out', { peer, credit, room })
  invariant(credit === 0 || hungry.has(peer), 'a peer with credit is hungry', { peer, credit })
  invariant(isReached || (credit === 0 && outstanding.size === 0), 'a peer without a link has nothing', {
    peer,
    phase,
    credit,
    outstanding: outstanding.size,
  })
  for (const request of outstanding.keys()) {
    const isHeld = leases.get(request)?.peers.includes(peer) === true
    invariant(isHeld, 'what a peer has out it holds', { request, peer })
  }
}
