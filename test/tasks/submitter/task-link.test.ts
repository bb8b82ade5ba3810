import { expect, test } from 'vitest'
import type { MessageStream } from '../../../src/base/stream/message-stream.ts'
import type { Network } from '../../../src/base/stream/network.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { TaskLink } from '../../../src/tasks/submitter/task-link.ts'

test('a link that is ended while its stream comes never opens, and lets the stream go', async () => {
  const aborts: string[] = []
  const stream = { abort: (error: Error) => aborts.push(error.message) } as unknown as MessageStream
  const network = { open: () => Promise.resolve(stream) } as unknown as Network
  const ends: string[] = []
  const link = new TaskLink(
    { network, clock: systemClock },
    'a',
    {
      job: 'job',
      contextId: 'context',
      prefix: undefined,
      leaseSize: undefined,
      openMs: 1_000,
      aliveEveryMs: 1_000,
      silenceMs: 1_000,
    },
    { onMessage: () => {}, onEnd: (reason) => ends.push(reason) },
  )
  let hasOpened = false
  const run = link.run(() => (hasOpened = true))
  link.end('nothing was heard')
  await run
  expect({ hasOpened, aborts, ends }).toEqual({
    hasOpened: false,
    aborts: ['nothing was heard'],
    ends: ['nothing was heard'],
  })
})
