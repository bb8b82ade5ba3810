import { expect, test } from 'vitest'
import { KILL_GUARD_DEFAULTS, KillGuard } from '../../../../src/inference/host/core/kill-guard.ts'

const { killsInRowMax, refuseMs } = KILL_GUARD_DEFAULTS

function killTimes(guard: KillGuard, times: number): void {
  for (let index = 0; index < times; index += 1) guard.killed('no memory', 1_000)
}

test('a context whose engine is killed three times in a row is refused for an hour', () => {
  const guard = new KillGuard()
  killTimes(guard, killsInRowMax - 1)
  expect(guard.refusal(1_000)).toBeUndefined()
  guard.killed('no memory', 1_000)
  expect(guard.refusal(1_000)).toContain(
    'killed 3 times in a row, so this peer refuses it for 60 min: no memory',
  )
  expect(guard.refusal(1_000 + refuseMs - 1)).toBeDefined()
  expect(guard.refusal(1_000 + refuseMs)).toBeUndefined()
})

test('an answer between two kills starts the count anew, and so does the end of a refusal', () => {
  const guard = new KillGuard()
  killTimes(guard, killsInRowMax - 1)
  guard.answered()
  killTimes(guard, killsInRowMax - 1)
  expect(guard.refusal(1_000)).toBeUndefined()
  killTimes(guard, 1)
  expect(guard.refusal(1_000 + refuseMs)).toBeUndefined()
  killTimes(guard, killsInRowMax - 1)
  expect(guard.refusal(1_000)).toBeUndefined()
})
