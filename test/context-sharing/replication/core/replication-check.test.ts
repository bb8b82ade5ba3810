import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Random, pick, randomInteger, seededRandom } from '../../../../src/base/random.ts'
import { checkReplication } from '../../../../src/context-sharing/replication/core/replication-check.ts'
import type { SaidContext } from '../../../../src/context-sharing/replication/core/replication-events.ts'
import type { ContextView } from '../../../../src/context-sharing/replication/core/replication-state.ts'
import {
  type Replication,
  type ReplicationEvent,
  newReplication,
  step,
} from '../../../../src/context-sharing/replication/core/replication.ts'

const HOLDERS_MAX = 4
const CONTEXT = 'context-0'
const OPTIONS = { holdersMax: HOLDERS_MAX, contextsMax: 4, joinAfterMs: 0, urgentJoinAfterMs: 0 }
const random = seededRandom(1)
const positionOf = (id: string): number => Buffer.from(id).reduce((sum, byte) => sum * 31 + byte, 7) >>> 0

function newState(): Replication {
  return newReplication({ self: 'self', positionOf, nowMs: 0, options: OPTIONS })
}

function peerSays(peer: string, contexts: SaidContext[], isDraining = false): ReplicationEvent {
  return { kind: 'peer', peer, takes: 'any', isDraining, contexts }
}

const stored = (contextId: string): SaidContext => ({ contextId, tier: 'stored', bytes: 10 })

/** Any event that adverts, answers and the own store can cause, in any order. */
function anyEvent(random: Random, pulling: readonly string[]): ReplicationEvent {
  const coin = (): boolean => random.next() < 0.5
  const peer = `peer-${randomInteger(random, 8)}`
  const contextId = `context-${randomInteger(random, 6)}`
  const said = Array.from({ length: 6 }, (_, n): SaidContext => {
    const tier = pick(random, ['partial', 'stored', 'warm'] as const)!
    return {
      contextId: `context-${n}`,
      tier,
      share: random.next(),
      bytes: 10,
      isFetching: tier === 'partial' && coin(),
      isBusy: coin(),
    }
  }).filter(coin)
  const tier = pick(random, ['absent', 'partial', 'stored', 'warm'] as const)!
  const holding = { tier, share: random.next(), isFetching: false, isBusy: coin() }
  const pulled = pick(random, pulling) ?? contextId
  const outcome = pick(random, ['stored', 'failed', 'cancelled'] as const)!
  const events: ReplicationEvent[] = [
    { kind: 'tick' },
    { ...peerSays(peer, said, random.next() < 0.2) },
    { ...peerSays(peer, said) },
    { kind: 'peer-silent', peer, heardMs: 0 },
    { kind: 'peer-lost', peer, heardMs: 0 },
    { kind: 'own', contextId, bytes: 10, holding },
    { kind: 'room', bytes: randomInteger(random, 100) },
    { kind: 'looked', contextId },
    { kind: 'pulled', contextId: pulled, outcome, hasGrown: coin() },
    { kind: 'offered', peer, contextId, bytes: 10, why: coin() ? 'drain' : 'offered', copies: 1 },
    { kind: 'offer-answered', peer, contextId, isAccepted: coin(), isHeld: false },
    { kind: 'audited', peer, contextId, outcome: pick(random, ['held', 'lied', 'unknown'] as const)! },
  ]
  if (random.next() < 0.005) return { kind: 'drain' }
  return pick(random, events)!
}

test('any order of events leaves a state that holds, and no pull is begun twice', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = seededRandom(seed)
      const state = newState()
      const pulling = new Set<string>()
      let nowMs = 0
      for (let n = 0; n < 300; n += 1) {
        nowMs += randomInteger(random, 40_000)
        const event = anyEvent(random, [...pulling])
        if (event.kind === 'pulled') pulling.delete(event.contextId)
        for (const effect of step(state, event, nowMs, random)) {
          if (effect.kind !== 'pull') continue
          expect(pulling.has(effect.contextId)).toBe(false)
          pulling.add(effect.contextId)
        }
        checkReplication(state)
      }
      expect(state.pulls).toBe(pulling.size)
    }),
    { numRuns: 100 },
  )
})

test('copies of peers that leave are remembered up to the same bound as those of peers that are lost', () => {
  const state = newState()
  for (let n = 0; n < 3 * HOLDERS_MAX; n += 1) {
    step(state, peerSays(`peer-${n}`, [stored(CONTEXT)], true), 0, random)
    step(state, { kind: 'peer-lost', peer: `peer-${n}`, heardMs: 0 }, 0, random)
  }
  expect(state.contexts.get(CONTEXT)?.lost.size).toBe(HOLDERS_MAX)
})

test('an accepted offer does not count beside the copy that it led to, when the advert was quicker', () => {
  const state = newState()
  step(state, peerSays('peer-1', [stored(CONTEXT)]), 0, random)
  step(
    state,
    { kind: 'offer-answered', peer: 'peer-1', contextId: CONTEXT, isAccepted: true, isHeld: false },
    0,
    random,
  )
  expect(state.contexts.get(CONTEXT)?.offers.size).toBe(0)
})

/** Two peers hold the context, which this one is to copy; a third is lost, a fourth was asked to take it. */
function busy(): Replication {
  const state = newState()
  step(state, peerSays('peer-1', [stored(CONTEXT)]), 0, random)
  step(state, peerSays('peer-2', [stored(CONTEXT)]), 0, random)
  step(
    state,
    { kind: 'offered', peer: 'peer-1', contextId: CONTEXT, bytes: 10, why: 'offered', copies: 1 },
    0,
    random,
  )
  step(state, peerSays('peer-3', [stored(CONTEXT)]), 0, random)
  step(state, { kind: 'peer-lost', peer: 'peer-3', heardMs: 0 }, 0, random)
  step(state, { kind: 'audited', peer: 'peer-2', contextId: CONTEXT, outcome: 'lied' }, 0, random)
  step(
    state,
    { kind: 'offer-answered', peer: 'peer-4', contextId: CONTEXT, isAccepted: true, isHeld: false },
    0,
    random,
  )
  return state
}

describe('the check throws when', () => {
  const view = (state: Replication): ContextView => state.contexts.get(CONTEXT)!
  const holding = { tier: 'stored', share: 1, isFetching: false, isBusy: false, leaseUntilMs: 0 } as const
  const corruptions: [string, (state: Replication) => unknown, string][] = [
    ['it is one of its others', (s) => s.peers.set('self', s.peers.get('peer-1')!), 'none of its others'],
    [
      'a peer is under another name',
      (s) => s.peers.set('peer-9', s.peers.get('peer-1')!),
      'filed under its peer',
    ],
    ['a peer has moved', (s) => (s.peers.get('peer-1')!.position += 1), 'where its id says'],
    ['a context is under another name', (s) => s.contexts.set('other', view(s)), 'filed under its context'],
    ['a holder is not known', (s) => s.peers.delete('peer-1'), 'a known peer that said so'],
    [
      'a holder never said so',
      (s) => (s.peers.get('peer-1')!.contextIds = new Set()),
      'a known peer that said so',
    ],
    ['a full copy is a part', (s) => (view(s).holders.get('peer-1')!.share = 0.5), 'has all of the context'],
    ['a share is beyond the whole', (s) => (view(s).holders.get('peer-1')!.share = 2), 'part of the whole'],
    ['the own share is', (s) => (view(s).own.share = -1), 'part of the whole'],
    ['a copy is here and lost', (s) => view(s).lost.set('peer-1', 0), 'both here and lost'],
    [
      'holders are beyond the bound',
      (s) => {
        for (let n = 0; n < 9; n += 1) view(s).holders.set(`h-${n}`, { ...holding })
      },
      'holders are bounded',
    ],
    [
      'lost copies are beyond the bound',
      (s) => {
        for (let n = 0; n < 9; n += 1) view(s).lost.set(`l-${n}`, 0)
      },
      'lost copies are bounded',
    ],
    [
      'doubts are beyond the bound',
      (s) => {
        for (let n = 0; n < 9; n += 1) view(s).doubts.set(`d-${n}`, { strikes: 1, untilMs: 0 })
      },
      'doubts are bounded',
    ],
    ['a copy is offered too', (s) => view(s).offers.set('peer-1', 9), 'not counted twice'],
    ['a doubt has no strike', (s) => (view(s).doubts.get('peer-2')!.strikes = 0), 'has a strike'],
    ['a doubt counts too soon', (s) => (view(s).doubts.get('peer-2')!.untilMs = 9), 'enough strikes'],
    ['a pull is not counted', (s) => (s.pulls = 0), 'pulls are counted'],
    ['a counted pull is forgotten', (s) => (view(s).pull = undefined), 'pulls are counted'],
    ['a wake is of nothing', (s) => s.wakes.set('other', 1), 'a wake is of a known context'],
    ['it is drained and stays', (s) => (s.isDrained = true), 'only a peer that leaves'],
    [
      'it pulls more than it may',
      (s) => {
        for (let n = 0; n < 3; n += 1)
          s.contexts.set(`p-${n}`, {
            ...view(s),
            contextId: `p-${n}`,
            holders: new Map(),
            lost: new Map(),
            offers: new Map(),
          })
        s.pulls = 4
      },
      'pulls are bounded',
    ],
  ]
  test.each(corruptions)('%s', (_name, corrupt, words) => {
    const state = busy()
    expect(() => checkReplication(state)).not.toThrow()
    corrupt(state)
    expect(() => checkReplication(state)).toThrow(words)
  })
})
