import fc from 'fast-check'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { TASK_PREFIX_UNITS_MAX } from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { encodeMessage } from '../../../src/base/stream/message-codec.ts'
import type { MessageStream } from '../../../src/base/stream/message-stream.ts'
import type { Network } from '../../../src/base/stream/network.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import type { Libp2pStack } from '../../../src/node/network-stack.ts'
import { commonPrefix } from '../../../src/tasks/job/common-prefix.ts'
import { Coordinator } from '../../../src/tasks/submitter/coordinator.ts'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { submitterMessageSchema } from '../../../src/tasks/wire/task-messages.ts'
import { Worker } from '../../../src/tasks/worker/worker.ts'
import { startStack } from '../../../testing/libp2p-swarm.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const REQUESTS = 300
const INSTRUCTIONS = 'Say whether the claim is true. '.repeat(100)

let folder: string
let stacks: Libp2pStack[] = []
beforeEach(() => {
  folder = temporaryFolder('prefix')
})
afterEach(async () => {
  await Promise.all(stacks.map((stack) => stack.stop()))
  stacks = []
  await rm(folder, { recursive: true, force: true })
})

async function makeJournal(bodies: readonly string[]): Promise<Journal> {
  const paths = { inputPath: '', inputSha256: '', outputPath: '' }
  const job = {
    jobId: 'job',
    context: 'facts',
    contextId: 'context',
    ...paths,
    createdAtMs: 0,
    isDetached: false,
  }
  async function* lines() {
    for (const [n, body] of bodies.entries())
      yield { line: n + 1, customId: `c${n}`, url: '/v1/chat/completions', body }
  }
  return await Journal.create(join(folder, 'journal.sqlite'), job, lines())
}

const bodyOf = (prompt: string): string =>
  JSON.stringify({ max_tokens: 4, messages: [{ role: 'user', content: prompt }] })

/** A network that adds up the bytes of what is sent on streams that it opens. */
function counting(network: Network, sent: { bytes: number }): Network {
  return new Proxy(network, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (name !== 'open') return typeof value === 'function' ? value.bind(target) : value
      return async (...parameters: Parameters<Network['open']>) =>
        countingStream(await target.open(...parameters), sent)
    },
  })
}

function countingStream(stream: MessageStream, sent: { bytes: number }): MessageStream {
  return new Proxy(stream, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (name !== 'sendTogether') return typeof value === 'function' ? value.bind(target) : value
      return async (...parameters: Parameters<MessageStream['sendTogether']>) => {
        for (const message of parameters[0]) sent.bytes += encodeMessage(message).byteLength
        await target.sendTogether(...parameters)
      }
    },
  })
}

describe('what all requests of a job begin with', () => {
  test('is the longest common beginning, and never half of a character', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 20 })
    fc.assert(
      fc.property(text, fc.array(text, { minLength: 1, maxLength: 5 }), fc.nat(40), (prefix, rests, max) => {
        const texts = rests.map((rest) => prefix + rest)
        const found = commonPrefix(texts, max)
        expect(found.length).toBeLessThanOrEqual(max)
        expect(texts.every((each) => each.startsWith(found))).toBe(true)
        if (max >= prefix.length) expect(found.startsWith(prefix)).toBe(true)
        expect(found.isWellFormed()).toBe(true)
      }),
    )
  })

  test('is bounded, where it is made and where it is received', async () => {
    using journal = await makeJournal(['a', 'b'].map((end) => 'x'.repeat(TASK_PREFIX_UNITS_MAX + 9) + end))
    expect(journal.bodyPrefix()).toHaveLength(TASK_PREFIX_UNITS_MAX)
    const open = { type: 'open', job: 'job', contextId: 'context' }
    const prefix = 'x'.repeat(TASK_PREFIX_UNITS_MAX + 1)
    expect(submitterMessageSchema.safeParse({ ...open, prefix }).success).toBe(false)
  })

  test('is nothing where bodies have little in common', async () => {
    using journal = await makeJournal(['{"a":1}', '{"b":2}'])
    expect(journal.bodyPrefix()).toBeUndefined()
  })

  test('travels once to each peer, and the engine gets whole bodies', async () => {
    const [submitter, peer] = await Promise.all([startStack(), startStack()])
    stacks = [submitter, peer]
    await submitter.members.meet(peer.addresses[0]!, { deadlineMs: 5_000 })
    const ran: string[] = []
    const answer = {
      outcome: 'ok' as const,
      statusCode: 200,
      body: '{}',
      promptTokens: 1,
      completionTokens: 1,
    }
    const worker = new Worker({
      network: peer.network,
      clock: systemClock,
      log: silentLogger,
      prepare: () =>
        Promise.resolve({
          slots: 8,
          run: ({ body }) => {
            ran.push(body)
            return Promise.resolve(answer)
          },
        }),
      discard: () => Promise.resolve(),
    })
    await worker.start()
    const bodies = Array.from({ length: REQUESTS }, (_, n) => bodyOf(`${INSTRUCTIONS}Claim ${n}.`))
    // One that is unlike the others comes as it is.
    bodies[7] = '{"prompt":"something else"}'
    using journal = await makeJournal(bodies)
    const sent = { bytes: 0 }
    const candidates = [{ peer: peer.network.self, tier: 'warm' as const, accepts: true }]
    const coordinator = new Coordinator({
      network: counting(submitter.network, sent),
      journal,
      candidates: {
        async *find() {
          yield candidates
        },
        watch: () => () => {},
      },
      clock: systemClock,
      random: seededRandom(1),
      log: silentLogger,
    })
    await coordinator.run()
    await worker.stop()
    expect(ran.sort()).toEqual([...bodies].sort())
    // Its prefix once, and less than 200 bytes for each request: number, epoch, path, the rest, its acknowledgement.
    expect(sent.bytes).toBeLessThan(INSTRUCTIONS.length + 500 + 200 * REQUESTS)
    expect(sent.bytes).toBeGreaterThan(INSTRUCTIONS.length)
  })
})
