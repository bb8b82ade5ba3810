import { expect, test } from 'vitest'
import type { CommitEntry } from '../../../src/tasks/journal/journal.ts'
import { requireArrived } from '../../../src/tasks/submitter/coordinator.ts'

const arrived: CommitEntry = {
  peer: 'a',
  result: {
    n: 3,
    epoch: 2,
    outcome: 'ok',
    statusCode: 200,
    body: '{}',
    promptTokens: 1,
    completionTokens: 1,
  },
}

test('a commit takes the result that came with its event', () => {
  expect(requireArrived({ kind: 'commit', peer: 'a', key: { n: 3, epoch: 2 } }, arrived)).toBe(arrived)
})

test.each([
  ['no result came', 'a', { n: 3, epoch: 2 }, undefined],
  ['it came from another peer', 'b', { n: 3, epoch: 2 }, arrived],
  ['it is of another request', 'a', { n: 4, epoch: 2 }, arrived],
  ['it is of another epoch', 'a', { n: 3, epoch: 1 }, arrived],
])('a commit whose result would vanish throws: %s', (_why, peer, key, entry) => {
  expect(() => requireArrived({ kind: 'commit', peer, key }, entry)).toThrow(
    /because the result of peer . is missing/,
  )
})
