import { describe, expect, test } from 'vitest'
import { CANDIDATES_KNOWN_MAX } from '../../../../src/base/limits.ts'
import { seededRandom } from '../../../../src/base/random.ts'
import { CandidateBook } from '../../../../src/tasks/submitter/core/candidate-book.ts'
import { step } from '../../../../src/tasks/submitter/core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
} from '../../../../src/tasks/submitter/core/coordinator-state.ts'
import { nextTickMs } from '../../../../src/tasks/submitter/core/pace.ts'

const random = seededRandom(1)
const warm = (peer: string): { peer: string; tier: 'warm'; accepts: boolean } => ({
  peer,
  tier: 'warm',
  accepts: true,
})

describe('the peers that a job knows', () => {
  test('are so many at most: whoever was of no use for longest is forgotten, and nobody in use', () => {
    const book = new CandidateBook({ ...COORDINATOR_DEFAULTS, peersMax: 2 })
    for (const peer of ['used', 'first', 'second']) book.learn(warm(peer), random)
    book.connect('used', 0)
    for (let index = 0; index < CANDIDATES_KNOWN_MAX - 1; index += 1)
      book.learn(warm(`peer-${index}`), random)
    expect(book.get('first')).toBeUndefined()
    expect(book.get('second')).toBeDefined()
    expect(book.get('used')).toBeDefined()
    expect(book.all()).toHaveLength(CANDIDATES_KNOWN_MAX + 1)
    expect(book.linkedCount).toBe(1)
  })

  test('are looked for while there is room for one more, and at once when there is room again', () => {
    const state = createCoordinator(
      { ranges: [{ from: 0, to: 9 }] },
      { ...COORDINATOR_DEFAULTS, peersMax: 1 },
    )
    const finds = (nowMs: number): number =>
      step(state, { kind: 'tick' }, nowMs, random).filter(({ kind }) => kind === 'find').length
    expect(step(state, { kind: 'start' }, 0, random)).toContainEqual({ kind: 'find' })
    expect(finds(1_900)).toBe(0)
    expect(finds(2_000)).toBe(1)
    step(state, { kind: 'candidates', candidates: [warm('a')] }, 2_000, random)
    step(state, { kind: 'opened', peer: 'a' }, 2_001, random)
    expect(finds(9_000)).toBe(0)
    step(state, { kind: 'lost', peer: 'a', reason: 'gone' }, 9_050, random)
    expect(nextTickMs(state)).toBeLessThanOrEqual(9_050)
    expect(finds(9_100)).toBe(1)
  })
})

describe('a peer that was lost', () => {
  const lose = (): ReturnType<typeof createCoordinator> => {
    const state = createCoordinator({ ranges: [{ from: 0, to: 9 }] }, COORDINATOR_DEFAULTS)
    step(state, { kind: 'start' }, 0, random)
    step(state, { kind: 'candidates', candidates: [warm('a')] }, 1, random)
    for (let nowMs = 1_000; nowMs < 100_000; nowMs = state.book.retryAtMs + 1) {
      step(state, { kind: 'lost', peer: 'a', reason: 'gone' }, nowMs, random)
      step(state, { kind: 'tick' }, state.book.retryAtMs, random)
    }
    step(state, { kind: 'lost', peer: 'a', reason: 'gone' }, 100_000, random)
    return state
  }

  test('is tried at once when it says that it is there', () => {
    const said = { ...warm('a'), isHere: true }
    const effects = step(lose(), { kind: 'candidates', candidates: [said] }, 100_001, random)
    expect(effects).toContainEqual({ kind: 'open', peer: 'a' })
  })

  test('waits its time when others say so', () => {
    const effects = step(lose(), { kind: 'candidates', candidates: [warm('a')] }, 100_001, random)
    expect(effects).not.toContainEqual({ kind: 'open', peer: 'a' })
  })
})

describe('a tick', () => {
  test('is needed for silence, while nothing else could change', () => {
    const state = createCoordinator(
      { ranges: [{ from: 0, to: 9 }] },
      { ...COORDINATOR_DEFAULTS, peersMax: 1 },
    )
    step(state, { kind: 'start' }, 0, random)
    step(state, { kind: 'candidates', candidates: [warm('a')] }, 1, random)
    step(state, { kind: 'opened', peer: 'a' }, 2, random)
    step(state, { kind: 'credit', peer: 'a', requests: 2 }, 5_000, random)
    expect(nextTickMs(state)).toBe(10_000)
    expect(step(state, { kind: 'tick' }, 10_000, random)).toEqual([])
    expect(nextTickMs(state)).toBe(15_000)
    expect(step(state, { kind: 'tick' }, 15_000, random)).toContainEqual(
      expect.objectContaining({ kind: 'close', peer: 'a' }),
    )
  })
})
