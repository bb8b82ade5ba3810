import { expect, test } from 'vitest'
import {
  createCoordinator,
  COORDINATOR_DEFAULTS,
} from '../../../src/tasks/submitter/core/coordinator-state.ts'
import { step } from '../../../src/tasks/submitter/core/coordinator.ts'
import { progressOf, WorkTime } from '../../../src/tasks/submitter/job-progress.ts'
import { seededRandom } from '../../../src/base/random.ts'

test('only the time in which requests ran counts', () => {
  const time = new WorkTime()
  expect(time.workedMs(50)).toBe(0)
  time.note(true, 100)
  time.note(true, 150)
  expect(time.workedMs(400)).toBe(300)
  time.note(false, 400)
  time.note(false, 500)
  expect(time.workedMs(9_000)).toBe(300)
  time.note(true, 9_000)
  expect(time.workedMs(9_100)).toBe(400)
})

test('the time left is projected from the time worked, and is unknown while all is paused', () => {
  const random = seededRandom(1)
  const state = createCoordinator({ ranges: [{ from: 0, to: 4 }], leases: [] }, COORDINATOR_DEFAULTS)
  const peer = 'peer'
  step(state, { kind: 'start' }, 0, random)
  step(
    state,
    { kind: 'candidates', candidates: [{ peer, tier: 'warm', accepts: true, isHere: true }] },
    0,
    random,
  )
  step(state, { kind: 'opened', peer }, 0, random)
  step(state, { kind: 'status', peer, phase: 'ready', reason: undefined, detail: undefined }, 0, random)
  step(state, { kind: 'credit', peer, requests: 2 }, 0, random)
  const key = { n: 0, epoch: 1 }
  step(state, { kind: 'result', peer, key, outcome: 'ok' }, 1_000, random)
  step(state, { kind: 'committed', peer, key }, 1_000, random)
  const amounts = { workedMs: 1_000, completionTokens: 30 }
  expect(progressOf(state, { ...amounts, elapsedMs: 1_000 })).toMatchObject({
    leftMs: 3_000,
    tokensPerSecond: 30,
  })
  step(state, { kind: 'status', peer, phase: 'refused', reason: 'paused', detail: undefined }, 1_000, random)
  const paused = progressOf(state, { ...amounts, elapsedMs: 3_600_000 })
  expect(paused).toMatchObject({ leftMs: undefined, tokensPerSecond: 30 })
  expect(paused.waiting).toBeDefined()
})
