import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { REPLICATION_CONTEXTS_MAX, REPLICATION_HOLDERS_MAX } from '../../../../src/base/limits.ts'
import { seededRandom } from '../../../../src/base/random.ts'
import {
  REPLICATION_DEFAULTS,
  mayDrop,
  newReplication,
  onlyHere,
  step,
} from '../../../../src/context-sharing/replication/core/replication.ts'
import { ReplicationWorld, positionOf } from '../../../../testing/virtual/replication-world.ts'

const MINUTE = 60_000
const { graceMs } = REPLICATION_DEFAULTS
const CONTEXT = 'context-a'
/** Bytes of a copy over the uplink of one holder, ms: 1 GB at 20 MB/s. */
const COPY_MS = 50_000

/** A swarm that has been up for a while, with copies of one context on some of its peers. */
function settled(options: { peers: number; seed: number; copies: number; core?: object }): ReplicationWorld {
  const world = new ReplicationWorld(options)
  world.run(REPLICATION_DEFAULTS.joinAfterMs + MINUTE)
  for (let index = 0; index < options.copies; index += 1) world.import(`peer-${index}`, CONTEXT)
  return world
}

const pullsIn = (world: ReplicationWorld): number =>
  world.effects.filter(({ effect }) => effect.kind === 'pull').length

describe('copies', () => {
  test('one copy becomes three, and no more', () => {
    const world = settled({ peers: 8, seed: 1, copies: 1 })
    world.run(60 * MINUTE)
    expect(world.copies(CONTEXT)).toHaveLength(3)
    expect(pullsIn(world)).toBe(2)
  })

  test('a holder vanishes: three copies again within the grace and twice the time of one copy', () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const world = settled({ peers: 8, seed, copies: 3 })
      world.run(MINUTE)
      world.vanish('peer-1')
      const tookMs = world.until(() => world.copies(CONTEXT).length === 3, 60 * MINUTE)
      // The grace begins with its last advert, at most 20 s before.
      expect(tookMs).toBeGreaterThan(graceMs - 20_000)
      expect(tookMs).toBeLessThanOrEqual(graceMs + 2 * COPY_MS)
      expect(pullsIn(world)).toBe(1)
    }
  })

  test('a holder that comes back within the grace costs nothing, and one that comes back later stays a copy', () => {
    const world = settled({ peers: 8, seed: 3, copies: 3 })
    world.run(MINUTE)
    world.vanish('peer-1')
    world.run(graceMs - 30_000)
    world.comeBack('peer-1')
    world.run(30 * MINUTE)
    expect(pullsIn(world)).toBe(0)
    world.vanish('peer-1')
    world.run(30 * MINUTE)
    expect(pullsIn(world)).toBe(1)
    world.comeBack('peer-1')
    world.run(30 * MINUTE)
    expect(world.copies(CONTEXT)).toHaveLength(4)
    // The fourth is counted: the next loss costs nothing at all.
    world.vanish('peer-0')
    world.run(30 * MINUTE)
    expect(pullsIn(world)).toBe(1)
  })

  test('the last copy but one is not waited for: a single copy left is urgent', () => {
    const world = settled({ peers: 8, seed: 4, copies: 3 })
    world.run(MINUTE)
    world.vanish('peer-0')
    world.vanish('peer-1')
    const tookMs = world.until(() => world.copies(CONTEXT).length >= 2, 60 * MINUTE)
    expect(tookMs).toBeLessThan(REPLICATION_DEFAULTS.urgentGraceMs + 2 * COPY_MS)
  })

  test('a peer that has just joined tops nothing up until it has been up for a while', () => {
    const world = new ReplicationWorld({ peers: 4, seed: 5 })
    world.import('peer-0', CONTEXT)
    world.import('peer-1', CONTEXT)
    world.run(REPLICATION_DEFAULTS.joinAfterMs - MINUTE)
    expect(pullsIn(world)).toBe(0)
    expect(world.get('peer-2').state.contexts.get(CONTEXT)?.code).toBe('joined-too-recently')
    world.run(10 * MINUTE)
    expect(world.copies(CONTEXT)).toHaveLength(3)
  })

  test('a context in demand gets a spare copy more than it has peers at work, within a bound', () => {
    const world = settled({ peers: 12, seed: 6, copies: 3 })
    for (let index = 0; index < 3; index += 1) world.setBusy(`peer-${index}`, CONTEXT)
    world.run(60 * MINUTE)
    expect(world.copies(CONTEXT)).toHaveLength(4)
    for (const name of world.copies(CONTEXT)) world.setBusy(name, CONTEXT)
    world.run(60 * MINUTE)
    for (const name of world.copies(CONTEXT)) world.setBusy(name, CONTEXT)
    world.run(60 * MINUTE)
    expect(world.copies(CONTEXT)).toHaveLength(REPLICATION_DEFAULTS.copiesMax)
  })

  test('who opted out, or has no room, makes no copies; the others do', () => {
    const out = settled({ peers: 4, seed: 7, copies: 1, core: { isTaking: false } })
    out.run(60 * MINUTE)
    expect(out.copies(CONTEXT)).toHaveLength(1)
    expect(out.get('peer-2').state.contexts.get(CONTEXT)?.code).toBe('opted-out')
    const full = settled({ peers: 5, seed: 8, copies: 1 })
    for (const name of ['peer-1', 'peer-2']) full.dispatch(full.get(name), { kind: 'room', bytes: 5e8 })
    full.run(60 * MINUTE)
    expect(full.copies(CONTEXT).sort()).toEqual(['peer-0', 'peer-3', 'peer-4'])
  })

  test('a peer that claims a copy and cannot show a chunk of it is found out and not counted', () => {
    const world = settled({ peers: 8, seed: 9, copies: 2 })
    world.lie('peer-7', CONTEXT)
    world.run(MINUTE)
    expect(pullsIn(world)).toBe(0)
    world.run(120 * MINUTE)
    expect(world.copies(CONTEXT)).toHaveLength(3)
    expect(world.copies(CONTEXT)).not.toContain('peer-7')
  })

  test('a fetch that does not grow stops being counted', () => {
    const world = settled({ peers: 6, seed: 10, copies: 2 })
    world.until(() => world.making(CONTEXT) === 1, 30 * MINUTE)
    const [stuck] = world.up().filter(({ fetching }) => fetching.has(CONTEXT))
    const { size } = world.peers
    // It hangs: it says that it fetches, and nothing comes.
    stuck!.fetching.delete(CONTEXT)
    expect(world.until(() => world.copies(CONTEXT).length === 3, 30 * MINUTE)).toBeDefined()
    expect(size).toBe(6)
  })
})

describe('any order of joins, leaves, returns and late adverts', () => {
  const happening = fc.record({
    afterMs: fc.integer({ min: 500, max: 12 * MINUTE }),
    what: fc.constantFrom('vanish', 'come-back', 'drain'),
    who: fc.integer({ min: 0, max: 9 }),
  })

  test('copies come to the target and stop; few are made at once; none is made of what is enough', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e6 }),
        fc.integer({ min: 1, max: 3 }),
        fc.array(happening, { maxLength: 12 }),
        (seed, copies, happenings) => {
          const world = settled({ peers: 10, seed, copies })
          for (const { afterMs, what, who } of happenings) {
            world.run(Math.ceil(afterMs / 500) * 500)
            happen(world, what, `peer-${who}`)
          }
          world.run(90 * MINUTE)
          const isAlive = world.copies(CONTEXT).length > 0
          const before = pullsIn(world)
          world.run(60 * MINUTE)
          if (isAlive) expect(world.copies(CONTEXT).length).toBeGreaterThanOrEqual(3)
          expect(pullsIn(world)).toBe(before)
          expect(world.needless).toBe(0)
          expect(world.mostMaking).toBeLessThanOrEqual(REPLICATION_DEFAULTS.repairsMax)
        },
      ),
      { numRuns: 100 },
    )
  })

  /** At most four are away at a time, and a context's last copy does not vanish: nothing could save that. */
  function happen(world: ReplicationWorld, what: string, name: string): void {
    const peer = world.get(name)
    if (what === 'come-back') {
      if (!peer.isUp) world.comeBack(name)
      return
    }
    const copies = world.copies(CONTEXT)
    if (!peer.isUp || world.up().length <= 6 || (copies.length === 1 && copies[0] === name)) return
    if (what === 'drain') {
      world.drain(name)
      world.run(MINUTE)
    }
    world.vanish(name)
  }
})

describe('a peer that leaves', () => {
  test('first hands over what nobody else has', () => {
    const world = settled({ peers: 6, seed: 11, copies: 0 })
    world.import('peer-0', 'only-here')
    world.import('peer-0', 'also-there')
    world.import('peer-1', 'also-there')
    world.run(2_000)
    world.drain('peer-0')
    const offers = world.effects.flatMap(({ effect }) => (effect.kind === 'offer' ? [effect.contextId] : []))
    expect(new Set(offers)).toEqual(new Set(['only-here']))
    expect(onlyHere(world.get('peer-0').state, world.nowMs)).toEqual(['only-here'])
    expect(world.until(() => world.copies('only-here').length >= 1, 5 * MINUTE)).toBeDefined()
    expect(world.until(() => world.get('peer-0').drainedMs !== undefined, 10 * MINUTE)).toBeDefined()
    expect(onlyHere(world.get('peer-0').state, world.nowMs)).toEqual([])
    expect(world.copies('also-there').length).toBeGreaterThanOrEqual(2)
  })

  test('goes at once when others have enough copies, or nobody is there to take one', () => {
    const held = settled({ peers: 5, seed: 12, copies: 3 })
    held.run(5_000)
    held.drain('peer-0')
    expect(held.get('peer-0').drainedMs).toBe(held.nowMs)
    const alone = settled({ peers: 1, seed: 13, copies: 1 })
    alone.drain('peer-0')
    expect(alone.get('peer-0').drainedMs).toBe(alone.nowMs)
    expect(onlyHere(alone.get('peer-0').state, alone.nowMs)).toEqual([CONTEXT])
  })

  test('has left nothing behind when every chunk is on one or another of those that fetch it', () => {
    const world = settled({ peers: 6, seed: 18, copies: 1 })
    world.run(1_000)
    world.drain('peer-0')
    const leaving = world.get('peer-0')
    expect(world.until(() => world.making(CONTEXT) === 2, MINUTE)).toBeDefined()
    expect(onlyHere(leaving.state, world.nowMs)).toEqual([CONTEXT])
    world.dispatch(leaving, { kind: 'covered', contextId: CONTEXT })
    expect(onlyHere(leaving.state, world.nowMs)).toEqual([])
  })

  test('does not wait for what it was fetching itself', () => {
    const world = settled({ peers: 2, seed: 17, copies: 1 })
    expect(world.until(() => world.making(CONTEXT) === 1, 10 * MINUTE)).toBeDefined()
    world.run(5_000)
    world.drain('peer-1')
    world.run(1_000)
    expect(world.get('peer-1').drainedMs).toBeDefined()
  })

  test('asks another when one declines', () => {
    const world = settled({ peers: 4, seed: 14, copies: 1, core: { repairsMax: 0 } })
    world.run(1_000)
    for (const name of ['peer-1', 'peer-2']) world.dispatch(world.get(name), { kind: 'room', bytes: 1 })
    world.drain('peer-0')
    expect(world.until(() => world.copies(CONTEXT).includes('peer-3'), 5 * MINUTE)).toBeDefined()
  })
})

describe('dropping a copy', () => {
  test('of many holders who drop at the same moment, two keep theirs', () => {
    const world = settled({ peers: 8, seed: 15, copies: 5 })
    world.run(5_000)
    const keep = world.up().filter(({ state }) => !mayDrop(state, CONTEXT, world.nowMs).may)
    const holding = keep.filter(({ disk }) => disk.has(CONTEXT))
    expect(holding).toHaveLength(REPLICATION_DEFAULTS.keepersMin)
  })

  test('the last copy is never dropped', () => {
    const world = settled({ peers: 3, seed: 16, copies: 1 })
    expect(mayDrop(world.get('peer-0').state, CONTEXT, world.nowMs)).toEqual({
      may: false,
      others: 0,
      code: 'last-copy',
    })
  })
})

describe('what peers say', () => {
  const random = seededRandom(1)
  const peerSaying = (peer: string, contextIds: string[]): Parameters<typeof step>[1] => ({
    kind: 'peer',
    peer,
    takes: 'any',
    isDraining: false,
    contexts: contextIds.map((contextId) => ({ contextId, tier: 'stored' })),
  })

  test('of ever more contexts is forgotten beyond a bound, but for our own', () => {
    const state = newReplication({ self: 'self', positionOf, nowMs: 0 })
    for (let index = 0; index <= REPLICATION_CONTEXTS_MAX; index += 1)
      step(state, peerSaying(`liar-${index}`, [`context-${index}`]), 0, random)
    expect(state.contexts.size).toBe(REPLICATION_CONTEXTS_MAX)
    const holding = { tier: 'stored' as const, share: 1, isFetching: false, isBusy: false }
    step(state, { kind: 'own', contextId: 'ours', bytes: 1, holding }, 0, random)
    expect(state.contexts.has('ours')).toBe(true)
  })

  test('that falls silent is asked only where its copies matter to us', () => {
    const state = newReplication({ self: 'self', positionOf, nowMs: 0 })
    step(state, peerSaying('other', []), 0, random)
    step(state, peerSaying('holder', [CONTEXT]), 0, random)
    const holding = { tier: 'stored' as const, share: 1, isFetching: false, isBusy: false }
    step(state, { kind: 'own', contextId: CONTEXT, bytes: 1, holding }, 0, random)
    expect(step(state, { kind: 'peer-silent', peer: 'holder', heardMs: 0 }, 0, random)).toContainEqual({
      kind: 'ask',
      peer: 'holder',
      heardMs: 0,
    })
    expect(state.peers.has('holder')).toBe(true)
    const effects = step(state, { kind: 'peer-silent', peer: 'other', heardMs: 0 }, 0, random)
    expect(effects).not.toContainEqual(expect.objectContaining({ kind: 'ask' }))
    expect(state.peers.has('other')).toBe(false)
  })

  test('of one context by ever more peers is counted up to a bound', () => {
    const state = newReplication({ self: 'self', positionOf, nowMs: 0 })
    for (let index = 0; index <= REPLICATION_HOLDERS_MAX; index += 1)
      step(state, peerSaying(`peer-${index}`, [CONTEXT]), 0, random)
    expect(state.contexts.get(CONTEXT)?.holders.size).toBe(REPLICATION_HOLDERS_MAX)
    for (let index = 0; index <= REPLICATION_HOLDERS_MAX; index += 1)
      step(state, { kind: 'peer-lost', peer: `peer-${index}`, heardMs: 0 }, 0, random)
    step(state, { kind: 'tick' }, REPLICATION_DEFAULTS.graceMs + 1, random)
    expect(state.contexts.size).toBe(0)
    expect(state.wakes.size).toBe(0)
  })
})

describe('a newcomer', () => {
  const BYTES = 60e6
  const ROOM = 1e9
  const offerOf = (contextId: string): Parameters<typeof step>[1] => ({
    kind: 'offered',
    peer: 'stranger',
    contextId,
    bytes: BYTES,
    why: 'drain',
    copies: 0,
  })
  const claims = (peer: string, contextIds: string[]): Parameters<typeof step>[1] => ({
    kind: 'peer',
    peer,
    takes: 'any',
    isDraining: true,
    contexts: contextIds.map((contextId) => ({ contextId, tier: 'stored', bytes: BYTES })),
  })
  const ids = ['junk-1', 'junk-2', 'junk-3']

  /** A peer that was up for long, and to which `claimants` have said for `knownMs` that they have three contexts. */
  function afterOffers(claimants: string[], knownMs: number): string[] {
    const state = newReplication({ self: 'self', positionOf, nowMs: 0 })
    const random = seededRandom(1)
    const nowMs = 10 * REPLICATION_DEFAULTS.joinAfterMs
    step(state, { kind: 'room', bytes: ROOM }, nowMs - knownMs, random)
    for (const peer of claimants) step(state, claims(peer, ids), nowMs - knownMs, random)
    const taken: string[] = []
    for (const contextId of ids) {
      const effects = step(state, offerOf(contextId), nowMs, random)
      if (!effects.some(({ kind }) => kind === 'accept')) continue
      taken.push(contextId)
      const holding = { tier: 'stored', share: 1, isFetching: false, isBusy: false } as const
      step(state, { kind: 'own', contextId, bytes: BYTES, holding }, nowMs, random)
      step(state, { kind: 'pulled', contextId, outcome: 'stored', hasGrown: true }, nowMs, random)
      step(state, { kind: 'room', bytes: ROOM - taken.length * BYTES }, nowMs, random)
    }
    return taken
  }

  test('has no more than a tenth of the room for contexts that nobody else has', () => {
    expect(REPLICATION_DEFAULTS.newcomersShare * ROOM).toBeLessThan(2 * BYTES)
    expect(afterOffers(['stranger'], 1_000)).toEqual(['junk-1'])
  })

  test('that has been there for long is none, and friends of a newcomer change nothing', () => {
    expect(afterOffers(['stranger'], REPLICATION_DEFAULTS.joinAfterMs)).toEqual(ids)
    expect(afterOffers(['stranger', 'friend'], 1_000)).toEqual(['junk-1'])
  })
})
