import { expect, test } from 'vitest'
import { HearthError } from '../../../src/base/errors.ts'
import { watchJoining } from '../../../src/cli/terminal/join-watch.ts'
import type { JoinTrouble } from '../../../src/node/status/peer-status.ts'

test('an owner is told once of each reason why nobody is reached, and when somebody is', () => {
  let state: JoinTrouble = { connectedPeers: 0, error: undefined }
  let run = (): void => {}
  const lines: string[] = []
  const events: object[] = []
  const cancel = watchJoining(
    { joinTrouble: () => state },
    {
      clock: { nowMs: () => 0, wallMs: () => 0, schedule: (_ms, again) => ((run = again), () => {}) },
      terminal: { note: (line) => void lines.push(line), event: (event) => void events.push(event) },
    },
  )
  run()
  expect(lines).toEqual([])
  state = { connectedPeers: 0, error: new HearthError('swarm-mismatch', 'it belongs to another swarm') }
  run()
  run()
  expect(lines).toEqual([
    'Not connected to any peer yet: it belongs to another swarm. Trying again until one answers',
  ])
  state = { connectedPeers: 0, error: new HearthError('peer-unreachable', 'nobody answers') }
  run()
  state = { connectedPeers: 2, error: undefined }
  run()
  run()
  expect(events).toEqual([
    { event: 'not-joined', code: 'swarm-mismatch', message: 'it belongs to another swarm' },
    { event: 'not-joined', code: 'peer-unreachable', message: 'nobody answers' },
    { event: 'joined', connectedPeers: 2 },
  ])
  cancel()
})
