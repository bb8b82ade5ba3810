import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CHUNK_BYTES } from '../../../../src/base/limits.ts'
import { type Random, pick, randomInteger, seededRandom } from '../../../../src/base/random.ts'
import {
  type UploadBudget,
  type UploadClass,
  type UploadEvent,
  newUploadBudget,
  stepUpload,
} from '../../../../src/context-sharing/upload/core/upload-budget.ts'
import { checkUpload } from '../../../../src/context-sharing/upload/core/upload-check.ts'

const CLASSES: readonly UploadClass[] = ['drain', 'urgent', 'normal', 'background']
const ACTIVE_MAX = 3

/** Sends any events that a shell may send: only what waits is withdrawn, only what was granted ends. */
function drive(random: Random, steps: number): UploadBudget {
  const budget = newUploadBudget(ACTIVE_MAX)
  const waiting = new Set<number>()
  const granted = new Set<number>()
  let nowMs = 0
  let nextId = 0
  const step = (event: UploadEvent): void => {
    for (const effect of stepUpload(budget, event, nowMs)) {
      if (effect.kind === 'wake') continue
      expect(waiting.delete(effect.id)).toBe(true)
      if (effect.kind === 'grant') granted.add(effect.id)
    }
  }
  const moves: (() => void)[] = [
    () => {
      const id = (nextId += 1)
      waiting.add(id)
      const uploadClass = CLASSES[randomInteger(random, CLASSES.length)]!
      const bytes = 1 + randomInteger(random, CHUNK_BYTES)
      step({ kind: 'ask', id, peer: `peer-${randomInteger(random, 5)}`, uploadClass, bytes })
    },
    () => {
      const id = pick(random, [...waiting])
      if (id === undefined) return
      waiting.delete(id)
      step({ kind: 'withdraw', id })
    },
    () => {
      const id = pick(random, [...granted])
      if (id === undefined) return
      granted.delete(id)
      step({ kind: random.next() < 0.5 ? 'done' : 'refund', id })
    },
    () => step({ kind: 'charge', bytes: randomInteger(random, 3 * CHUNK_BYTES) }),
    () =>
      step({ kind: 'cap', bytesPerSecond: random.next() < 0.5 ? undefined : 1 + randomInteger(random, 2e7) }),
    () => {
      const leftBytes = random.next() < 0.5 ? Infinity : randomInteger(random, 4 * CHUNK_BYTES)
      step({ kind: 'month', leftBytes, isSpent: leftBytes < CHUNK_BYTES })
    },
    () => step({ kind: 'tick' }),
  ]
  for (let n = 0; n < steps; n += 1) {
    nowMs += randomInteger(random, 2_000)
    // Asking and sending happen most.
    moves[random.next() < 0.6 ? randomInteger(random, 3) : randomInteger(random, moves.length)]!()
  }
  expect(new Set(budget.active.keys())).toEqual(granted)
  return budget
}

test('any order of events leaves a state that holds, and what is granted is what is active', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => void drive(seededRandom(seed), 150)),
    { numRuns: 60 },
  )
})

test('a refund into a full bucket gives no burst', () => {
  const budget = newUploadBudget(1)
  stepUpload(budget, { kind: 'cap', bytesPerSecond: 1_000_000 }, 0)
  stepUpload(budget, { kind: 'ask', id: 1, peer: 'a', uploadClass: 'normal', bytes: CHUNK_BYTES }, 0)
  const full = CHUNK_BYTES + 100_000
  stepUpload(budget, { kind: 'refund', id: 1 }, 60_000)
  expect(budget.total?.tokens).toBe(full)
})

describe('an event that cannot be is refused:', () => {
  const impossible: [string, UploadEvent, string][] = [
    ['the end of a chunk that was not granted', { kind: 'done', id: 9 }, 'only a granted chunk ends'],
    ['a refund of one', { kind: 'refund', id: 9 }, 'only a granted chunk ends'],
    ['a withdrawal of what does not wait', { kind: 'withdraw', id: 9 }, 'only a waiting chunk is withdrawn'],
  ]
  test.each(impossible)('%s', (_name, event, words) => {
    expect(() => stepUpload(newUploadBudget(1), event, 0)).toThrow(words)
  })
})

describe('the check throws when', () => {
  /** One slot, capped: peer a is being sent a chunk, and waits for two more. */
  function busy(): UploadBudget {
    const budget = newUploadBudget(1)
    stepUpload(budget, { kind: 'cap', bytesPerSecond: 1_000_000 }, 0)
    const ask = { kind: 'ask', peer: 'a', bytes: 10 } as const
    stepUpload(budget, { ...ask, id: 1, uploadClass: 'normal' }, 0)
    stepUpload(budget, { ...ask, id: 2, uploadClass: 'urgent' }, 0)
    stepUpload(budget, { ...ask, id: 3, uploadClass: 'background' }, 0)
    return budget
  }
  const flow = (budget: UploadBudget) => budget.flows.get('a')!
  const corruptions: [string, (budget: UploadBudget) => unknown, string][] = [
    ['a flow is under another peer', (b) => b.flows.set('b', flow(b)), 'filed under its peer'],
    ['a finish is no number', (b) => (flow(b).finish = NaN), "flow's finish"],
    ['somebody waits in a spent month', (b) => (b.isMonthSpent = true), 'once the month is spent'],
    ['a lighter class waits first', (b) => flow(b).asks.push(flow(b).asks.shift()!), 'weightiest class'],
    ['an ask is for nothing', (b) => (flow(b).asks[0]!.bytes = 0), 'for bytes'],
    ['a sent chunk waits too', (b) => (flow(b).asks[0]!.id = 1), 'one ask'],
    [
      'more is sent than there are slots',
      (b) => b.active.set(9, { peer: 'a', bytes: 1, weight: 1 }),
      'than there are slots',
    ],
    ['a served peer is forgotten', (b) => b.flows.clear(), 'is remembered'],
    ['one bucket is missing', (b) => (b.replication = undefined), 'or neither'],
    ['spare copies have another share', (b) => (b.replication!.rateBytesPerSecond *= 2), 'their share'],
    ['a bucket overflows', (b) => (b.total!.tokens += 10 * CHUNK_BYTES), 'more than its capacity'],
    ['the month is no number', (b) => (b.monthLeftBytes = NaN), 'of the month'],
    [
      'somebody waits for nothing',
      (b) => {
        b.active.clear()
        b.total = undefined
        b.replication = undefined
      },
      'nobody waits while',
    ],
  ]
  test.each(corruptions)('%s', (_name, corrupt, words) => {
    const budget = busy()
    expect(() => checkUpload(budget)).not.toThrow()
    corrupt(budget)
    expect(() => checkUpload(budget)).toThrow(words)
  })
})
