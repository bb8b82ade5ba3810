import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import type { PeerView } from '../../../../src/tasks/submitter/core/candidate-book.ts'
import { checkCoordinator } from '../../../../src/tasks/submitter/core/coordinator-check.ts'
import { step } from '../../../../src/tasks/submitter/core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorState,
  type Lease,
} from '../../../../src/tasks/submitter/core/coordinator-state.ts'

const PEERS = ['a', 'b', 'c', 'd']
const REQUESTS = 6

const peer = fc.constantFrom(...PEERS)
const key = fc.record({ n: fc.nat(REQUESTS + 1), epoch: fc.integer({ min: 1, max: 4 }) })
const outcome = fc.constantFrom('ok', 'ok', 'bad-request', 'retry')
const phase = fc.constantFrom('queued', 'fetching', 'loading', 'ready', 'ready', 'refused')
const tier = fc.constantFrom('warm', 'stored', 'partial', 'absent')
const kindOf = <Kind extends string>(kind: Kind): fc.Arbitrary<Kind> => fc.constant(kind)

/** What a submitter's shell may say of its peers, be they honest or not. */
const heard = fc.oneof(
  fc.record({
    kind: kindOf('candidates'),
    candidates: fc.array(fc.record({ peer, tier, accepts: fc.boolean(), isHere: fc.boolean() })),
  }),
  fc.record({ kind: kindOf('opened'), peer }),
  fc.record({ kind: kindOf('opened'), peer }),
  fc.record({ kind: kindOf('lost'), peer, reason: fc.constant('cut') }),
  fc.record({ kind: kindOf('heard'), peer }),
  fc.record({ kind: kindOf('status'), peer, phase, reason: fc.constantFrom('draining', 'failed') }),
  fc.record({ kind: kindOf('credit'), peer, requests: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: kindOf('credit'), peer, requests: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: kindOf('result'), peer, key, outcome }),
  fc.record({ kind: kindOf('result'), peer, key, outcome }),
  fc.record({ kind: kindOf('returned'), peer, keys: fc.array(key) }),
  fc.record({ kind: kindOf('tick') }),
)
const moves = fc.array(
  fc.record({ event: heard, afterMs: fc.constantFrom(0, 1, 50, 1_500, 20_000), commits: fc.nat(2) }),
  { maxLength: 80 },
)

/** Plays a job as its shell would: a link opens once, what a peer says comes after that, commits are reported. */
class Play {
  readonly state: CoordinatorState
  readonly random = seededRandom(1)
  nowMs = 0
  toCommit: Extract<CoordinatorEffect, { kind: 'commit' | 'accept' | 'fail' }>[] = []
  readonly committed: number[] = []

  constructor(state: CoordinatorState) {
    this.state = state
    this.tell({ kind: 'start' })
  }

  tell(event: CoordinatorEvent): void {
    for (const effect of step(this.state, event, this.nowMs, this.random))
      if (effect.kind === 'commit' || effect.kind === 'accept' || effect.kind === 'fail')
        this.toCommit.push(effect)
  }

  hear(event: CoordinatorEvent): void {
    if ('peer' in event && event.peer !== undefined) {
      const isConnecting = this.state.book.get(event.peer)?.phase === 'connecting'
      if (isConnecting !== (event.kind === 'opened') && event.kind !== 'lost') return
    }
    this.tell(event)
  }

  commit(): void {
    const effect = this.toCommit.shift()
    if (effect === undefined) return
    this.committed.push(effect.key.n)
    const peer = effect.kind === 'fail' ? undefined : effect.peer
    this.tell({ kind: 'committed', peer, key: effect.key })
  }
}

function newJob(options: Partial<typeof COORDINATOR_DEFAULTS> = {}): CoordinatorState {
  return createCoordinator(
    { ranges: [{ from: 0, to: REQUESTS }], leases: [{ n: 2, epoch: 1, holders: ['a'] }] },
    { ...COORDINATOR_DEFAULTS, giveUpMs: 1e9, ...options },
  )
}

describe('a coordinator, after every step', () => {
  test.each([{}, { leaseSize: 2 }, { peersMax: 2, lossesMax: 2, outstandingMax: 3, attemptsMax: 2 }])(
    'holds its invariants, whatever peers say: %o',
    (options) => {
      fc.assert(
        fc.property(moves, (list) => {
          const play = new Play(newJob(options))
          for (const { event, afterMs, commits } of list) {
            play.nowMs += afterMs
            play.hear(event)
            for (let count = 0; count < commits; count += 1) play.commit()
          }
          while (play.toCommit.length > 0) play.commit()
          expect(new Set(play.committed).size).toBe(play.committed.length)
          expect(play.state.settledCount).toBe(play.committed.length)
        }),
        { numRuns: 1_000 },
      )
    },
  )
})

/** Request 0 is at a, 1 is being committed, 2 waits for its retry, the rest is at b, which has credit; c and d have no link. */
function busyJob(): CoordinatorState {
  const play = new Play(newJob())
  const candidates = ['a', 'b'].map((name) => ({ peer: name, tier: 'warm' as const, accepts: true }))
  play.tell({ kind: 'candidates', candidates })
  play.tell({ kind: 'candidates', candidates: [{ peer: 'c', tier: 'stored', accepts: false }] })
  play.tell({ kind: 'candidates', candidates: [{ peer: 'd', tier: 'stored', accepts: false }] })
  for (const name of ['a', 'b']) {
    play.tell({ kind: 'opened', peer: name })
    play.tell({ kind: 'credit', peer: name, requests: name === 'a' ? 3 : 1 })
  }
  play.tell({ kind: 'result', peer: 'a', key: { n: 1, epoch: 1 }, outcome: 'ok' })
  play.tell({ kind: 'result', peer: 'a', key: { n: 2, epoch: 2 }, outcome: 'retry' })
  play.tell({ kind: 'credit', peer: 'b', requests: 5 })
  return play.state
}

describe('checkCoordinator', () => {
  const viewOf = (state: CoordinatorState, name: string): PeerView => state.book.get(name)!
  const leaseOf = (state: CoordinatorState, request: number): Lease => state.leases.get(request)!

  test('lets a state pass that steps made', () => {
    const state = busyJob()
    expect([...state.leases.keys()]).toEqual([0, 1, 3, 4, 5])
    expect(leaseOf(state, 1).isCommitting).toBe(true)
    expect(() => checkCoordinator(state)).not.toThrow()
  })

  test.each<[string, (state: CoordinatorState) => void]>([
    ['pending, leased or being committed', (state) => (state.unsettled -= 1)],
    ['pending, leased or being committed', (state) => state.leases.delete(0)],
    ['what is settled is counted', (state) => (state.settledCount += 1)],
    [
      'a job ends when all is settled',
      (state) => {
        while (state.pending.take(Infinity) !== undefined);
        state.leases.clear()
        state.unsettled = 0
        state.settledCount = REQUESTS
      },
    ],
    ['what is leased is not pending', (state) => swap(state, 0)],
    ['a request comes back once', (state) => state.pending.giveBack(2, 0)],
    ['is neither pending nor leased', (state) => recommit(state)],
    ['nothing is remembered of what is settled', (state) => state.failures.set(9, ['a'])],
    ['nothing is remembered of what is settled', (state) => state.losses.set(9, 1)],
    ['nothing is remembered of what is settled', (state) => state.ended.set(9, { epoch: 1, holders: [] })],
    ['filed under its request', (state) => (leaseOf(state, 0).request = 7)],
    ['a newer epoch', (state) => state.ended.set(0, { epoch: 1, holders: ['a'] })],
    ['a peer holds a lease once', (state) => leaseOf(state, 0).peers.push('a')],
    ['no more peers hold a lease than may', (state) => leaseOf(state, 0).peers.push('b', 'c')],
    ['somebody holds a lease', (state) => (leaseOf(state, 0).peers = [])],
    ['held by peers that are known', (state) => leaseOf(state, 0).peers.push('x')],
    ['who holds a lease was sent its request', (state) => viewOf(state, 'a').outstanding.delete(0)],
    ['what a peer has out it holds', (state) => viewOf(state, 'a').outstanding.set(3, 0)],
    ['credit fits', (state) => (viewOf(state, 'a').credit = -1)],
    ['credit fits', (state) => (viewOf(state, 'a').credit = state.options.outstandingMax)],
    ['a peer with credit is hungry', (state) => state.hungry.clear()],
    ['a hungry peer has credit', (state) => state.hungry.add('a')],
    [
      'a peer without a link has nothing',
      (state) => {
        viewOf(state, 'c').credit = 1
        state.hungry.add('c')
      },
    ],
    ['a peer without a link is only known', (state) => (viewOf(state, 'c').phase = 'connecting')],
    ['a peer is linked or not', (state) => (viewOf(state, 'a').phase = 'known')],
    ['peers that are reached are counted', (state) => (viewOf(state, 'a').phase = 'connecting')],
    ['holders are counted', (state) => (viewOf(state, 'c').tier = 'absent')],
    ['a peer that accepts work is in the order', (state) => (viewOf(state, 'c').accepts = true)],
  ])('refuses a state that cannot be: %s', (invariant, corrupt) => {
    const state = busyJob()
    corrupt(state)
    expect(() => checkCoordinator(state)).toThrow(invariant)
  })

  test('refuses a request that is pending twice', () => {
    const state = newJob()
    state.pending.giveBack(0, 0)
    expect(() => checkCoordinator(state)).toThrow('a request is pending once')
  })

  test('refuses peers that are out of order', () => {
    const state = createCoordinator(
      { ranges: [{ from: 0, to: 1 }] },
      { ...COORDINATOR_DEFAULTS, peersMax: 1 },
    )
    const play = new Play(state)
    const candidates = ['a', 'b', 'c'].map((name) => ({ peer: name, tier: 'stored' as const, accepts: true }))
    play.tell({ kind: 'candidates', candidates })
    const waiting = state.book.all().filter(({ phase }) => phase === 'known')
    const [first, second] = waiting
    const isFirstBefore = first!.lot < second!.lot
    first!.failures = isFirstBefore ? 2 : 1
    second!.failures = isFirstBefore ? 1 : 2
    expect(() => checkCoordinator(state)).toThrow('peers are in order')
  })
})

describe('a move that is not legal is refused', () => {
  const tell = (state: CoordinatorState, event: CoordinatorEvent) => () =>
    step(state, event, 1, seededRandom(1))

  test.each<[string, CoordinatorEvent]>([
    ['a link that opens twice', { kind: 'opened', peer: 'a' }],
    ['a link that was not made', { kind: 'opened', peer: 'c' }],
    ['a link to a stranger', { kind: 'opened', peer: 'x' }],
    ['a commit that nobody asked for', { kind: 'committed', peer: 'a', key: { n: 0, epoch: 1 } }],
    ['a commit under another epoch', { kind: 'committed', peer: 'a', key: { n: 1, epoch: 2 } }],
    ['a commit of what is pending', { kind: 'committed', peer: 'a', key: { n: 2, epoch: 2 } }],
  ])('%s', (_move, event) => {
    expect(tell(busyJob(), event)).toThrow(expect.objectContaining({ code: 'internal' }))
  })

  test('a commit that is told twice', () => {
    const state = busyJob()
    const event: CoordinatorEvent = { kind: 'committed', peer: 'a', key: { n: 1, epoch: 1 } }
    expect(tell(state, event)).not.toThrow()
    expect(tell(state, event)).toThrow('what is committed was to be')
  })

  test('a peer that says how far it is before its link is there', () => {
    const state = createCoordinator({ ranges: [{ from: 0, to: 1 }] }, COORDINATOR_DEFAULTS)
    tell(state, { kind: 'candidates', candidates: [{ peer: 'a', tier: 'warm', accepts: true }] })()
    expect(tell(state, { kind: 'status', peer: 'a', phase: 'ready' })).toThrow('from one phase to the next')
  })
})

/** A request that is leased is pending, too, and another is not there: the sums are right. */
function swap(state: CoordinatorState, request: number): void {
  state.pending.giveBack(request, 0)
  state.pending.settle(2)
  state.failures.clear()
  state.ended.clear()
}

function recommit(state: CoordinatorState): void {
  state.committing.add(0)
  state.leases.delete(1)
}
