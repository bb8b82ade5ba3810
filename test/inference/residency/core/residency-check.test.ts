import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Random, pick, randomInteger, seededRandom } from '../../../../src/base/random.ts'
import { checkResidency } from '../../../../src/inference/residency/core/residency-check.ts'
import {
  RESIDENCY_DEFAULTS,
  type Residency,
  type Resident,
  type ResidentPhase,
  createResidency,
  moveResident,
} from '../../../../src/inference/residency/core/residency-state.ts'
import { type ResidencyEvent, stepResidency } from '../../../../src/inference/residency/core/residency.ts'

const OPTIONS = { ...RESIDENCY_DEFAULTS, memoryBytesMax: 100, contextsMax: 3, waitersMax: 4 }

/** Sends any events that a shell may send: what is told of a context is told while it is resident. */
function drive(random: Random, steps: number): void {
  const state = createResidency(OPTIONS)
  let nowMs = 0
  let ticket = 0
  const step = (event: ResidencyEvent): unknown => stepResidency(state, event, nowMs)
  const anyContext = (): string => `context-${randomInteger(random, 5)}`
  const withResident = (run: (resident: Resident) => unknown): void => {
    const resident = pick(random, [...state.residents.values()])
    if (resident !== undefined) run(resident)
  }
  const moves: (() => unknown)[] = [
    () =>
      step({
        kind: 'acquire',
        ticket: (ticket += 1),
        contextId: anyContext(),
        estimateBytes: 1 + randomInteger(random, 110),
      }),
    () => step({ kind: 'release', ticket: 1 + randomInteger(random, ticket + 1) }),
    () => step({ kind: 'loaded', contextId: anyContext() }),
    () => step({ kind: 'measured', contextId: anyContext(), bytes: randomInteger(random, 120) }),
    () =>
      withResident(({ contextId, phase }) => phase === 'leaving' && step({ kind: 'unloaded', contextId })),
    () => withResident(({ contextId }) => step({ kind: 'failed', contextId })),
    () => withResident(({ contextId }) => step({ kind: 'evict', contextId, reason: 'told to' })),
    () => step({ kind: 'tick' }),
  ]
  for (let n = 0; n < steps; n += 1) {
    nowMs += randomInteger(random, 4_000)
    // Contexts that come and go by themselves happen most.
    moves[random.next() < 0.8 ? randomInteger(random, 5) : randomInteger(random, moves.length)]!()
  }
}

test('any order of events leaves a state that holds', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => drive(seededRandom(seed), 150)),
    { numRuns: 60 },
  )
})

describe('a resident', () => {
  const phases: ResidentPhase[] = ['loading', 'loaded', 'closing', 'leaving']
  const legal = ['loading loaded', 'loading leaving', 'loaded closing', 'loaded leaving', 'closing leaving']
  const moves = phases.flatMap((from) => phases.map((to): [ResidentPhase, ResidentPhase] => [from, to]))

  test.each(moves)('that is %s becomes %s, or the move is refused', (from, to) => {
    const resident = { contextId: 'a', phase: from } as Resident
    if (legal.includes(`${from} ${to}`)) {
      moveResident(resident, to)
      expect(resident.phase).toBe(to)
    } else {
      expect(() => moveResident(resident, to)).toThrow(`a resident only moves on (contextId=a, from=${from}`)
      expect(resident.phase).toBe(from)
    }
  })
})

describe('an event that cannot be is refused:', () => {
  const impossible: [string, ResidencyEvent, string][] = [
    ['the failure of what is not resident', { kind: 'failed', contextId: 'x' }, 'only a resident fails'],
    ['its eviction', { kind: 'evict', contextId: 'x', reason: '' }, 'only a resident fails'],
    ['the end of what was not to leave', { kind: 'unloaded', contextId: 'a' }, 'of a leaving context'],
    [
      'a ticket that is a use already',
      { kind: 'acquire', ticket: 1, contextId: 'a', estimateBytes: 1 },
      'granted once',
    ],
  ]
  test.each(impossible)('%s', (_name, event, words) => {
    expect(() => stepResidency(busy(), event, 0)).toThrow(words)
  })
})

/** Context a is loaded and used; b loads; c waits for room. */
function busy(): Residency {
  const state = createResidency({ ...OPTIONS, contextsMax: 2 })
  const acquire = (ticket: number, contextId: string): unknown =>
    stepResidency(state, { kind: 'acquire', ticket, contextId, estimateBytes: 40 }, 0)
  acquire(1, 'a')
  stepResidency(state, { kind: 'loaded', contextId: 'a' }, 0)
  acquire(2, 'b')
  acquire(3, 'c')
  return state
}

describe('the check throws when', () => {
  const a = (state: Residency): Resident => state.residents.get('a')!
  const b = (state: Residency): Resident => state.residents.get('b')!
  const corruptions: [string, (state: Residency) => unknown, string][] = [
    ['too much is resident', (s) => s.residents.set('d', { ...a(s), contextId: 'd' }), 'there are places'],
    ['a resident is under another name', (s) => (a(s).contextId = 'z'), 'filed under its context'],
    ['a size is negative', (s) => (a(s).bytes = -1), 'has a size'],
    [
      'a context loads for nobody',
      (s) => {
        b(s).uses = 0
        s.tickets.delete(2)
      },
      'loads for somebody',
    ],
    [
      'a closing context has no use left',
      (s) => {
        a(s).phase = 'closing'
        a(s).uses = 0
        s.tickets.delete(1)
      },
      'its last uses',
    ],
    ['what loads is measured', (s) => (b(s).isMeasured = true), 'once it is loaded'],
    ['a use is counted twice', (s) => (a(s).uses += 1), 'has a ticket'],
    ['a use is lost', (s) => s.tickets.delete(1), 'has a ticket'],
    ['a used context is gone without leaving', (s) => s.residents.delete('a'), 'one that has left'],
    ['somebody waits twice', (s) => s.waiters.push({ ...s.waiters[0]! }), 'a ticket waits once'],
    ['a use waits', (s) => (s.waiters[0]!.ticket = 1), 'a ticket waits once'],
    ['somebody waits for what is loaded', (s) => (s.waiters[0]!.contextId = 'a'), 'what is loaded'],
    [
      'a later one waits first',
      (s) => s.waiters.unshift({ ticket: 9, contextId: 'e', bytes: 90, sinceMs: 5 }),
      'the order in which they came',
    ],
    ['what never fits is waited for', (s) => (s.waiters[0]!.bytes = 101), 'what never fits'],
    [
      'an idle context stays over the bound',
      (s) => {
        a(s).uses = 0
        s.tickets.delete(1)
        a(s).bytes = 90
      },
      'nothing idle stays',
    ],
    [
      'the first waits though there is room',
      (s) => {
        s.residents.delete('b')
        s.tickets.delete(2)
      },
      'let in while there is room',
    ],
    [
      'more wait than may',
      (s) => {
        for (let n = 0; n < 5; n += 1) s.waiters.push({ ...s.waiters[0]!, ticket: 10 + n })
      },
      'than may',
    ],
    [
      'too many sizes are remembered',
      (s) => {
        for (let n = 0; n < 1_025; n += 1) s.sizes.set(String(n), 1)
      },
      'of so many contexts',
    ],
  ]

  test.each(corruptions)('%s', (_name, corrupt, words) => {
    const state = busy()
    expect(() => checkResidency(state)).not.toThrow()
    corrupt(state)
    expect(() => checkResidency(state)).toThrow(words)
  })
})
