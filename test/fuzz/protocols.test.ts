import { encode } from '@ipld/dag-cbor'
import { rm } from 'node:fs/promises'
import { encode as encodeVarint } from 'uint8-varint'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ZodType } from 'zod'
import { isHearthError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log/logger.ts'
import { decodeMessage, readLengthPrefix } from '../../src/base/stream/message-codec.ts'
import { randomInteger, seededRandom, type Random } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { fetcherMessageSchema, holderMessageSchema } from '../../src/context-sharing/wire/messages.ts'
import {
  replicaAnswerSchema,
  replicaOfferSchema,
} from '../../src/context-sharing/replication/replica-messages.ts'
import { AdvertAnswerSchema, AdvertQuestionSchema } from '../../src/dht/advert/advert-messages.ts'
import { DataFolder } from '../../src/node/home/data-folder.ts'
import type { Libp2pStack } from '../../src/node/network-stack.ts'
import { Peer } from '../../src/node/peer.ts'
import { submitterMessageSchema, workerMessageSchema } from '../../src/tasks/wire/task-messages.ts'
import { JOB_PROTOCOL, jobAnswerSchema, jobQuestionSchema } from '../../src/node/owner/job-messages.ts'
import { OwnedJobs } from '../../src/node/owner/owned-jobs.ts'
import { startStack, TEST_SWARM, until } from '../../testing/libp2p-swarm.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const FRAMES = 10_000
/** 24 frames each: 10,080 on every protocol. */
const STREAMS = 420
const CID = 'bafyreicvaawsq2bivrjm372fdt23kydqxjv2q6t2xp7vdx3zfgzr5qicjy'

/** Messages that are right, to be bent: random bytes alone never get past the first check. */
const VALID: Record<string, object[]> = {
  'task/2': [
    { type: 'open', job: 'job', contextId: CID },
    {
      type: 'requests',
      requests: { n: [0], epoch: [1], url: ['/v1/completions'], body: ['{}'], isPrefixed: [false] },
    },
    { type: 'acknowledge', results: { n: [0], epoch: [1] } },
    { type: 'alive' },
  ],
  'context/1': [
    { type: 'open', contextId: CID, priority: 'normal' },
    { type: 'manifest-request' },
    { type: 'request', chunks: [0, 1, 2] },
    { type: 'have', ranges: [[0, 5]] },
  ],
  'replica/1': [{ type: 'offer', contextId: CID, bytes: 1000, copies: 1, why: 'offered' }],
  [JOB_PROTOCOL]: [
    { type: 'hello', nonce: new Uint8Array(32) },
    { type: 'proof', signature: new Uint8Array(64) },
    { type: 'show', job: 'a1' },
    { type: 'failed', code: 'usage', message: 'no' },
  ],
  'advert/1': [
    { kind: 'get' },
    { kind: 'peers' },
    { kind: 'put', advert: { payload: new Uint8Array(20), signature: new Uint8Array(64) } },
  ],
}

const SCHEMAS: Record<string, ZodType> = {
  'task/2 to a worker': submitterMessageSchema,
  'task/2 to a submitter': workerMessageSchema,
  'context/1 to a holder': fetcherMessageSchema,
  'context/1 to a fetcher': holderMessageSchema,
  'replica/1 offer': replicaOfferSchema,
  'replica/1 answer': replicaAnswerSchema,
  'job/1 question': jobQuestionSchema,
  'job/1 answer': jobAnswerSchema,
  'advert/1 question': AdvertQuestionSchema,
  'advert/1 answer': AdvertAnswerSchema,
}

/** A frame that is random bytes, or a right message with some bytes changed, cut off, or with a lying length. */
function garbageFrame(random: Random, valid: readonly object[]): Uint8Array {
  const body = encode(valid[randomInteger(random, valid.length)])
  const kind = randomInteger(random, 4)
  if (kind === 0) return randomBytes(random, 1 + randomInteger(random, 300))
  const bent = Uint8Array.from(body)
  for (let count = 1 + randomInteger(random, 4); count > 0; count -= 1) {
    bent[randomInteger(random, bent.length)] = randomInteger(random, 256)
  }
  const cut = kind === 2 ? bent.subarray(0, randomInteger(random, bent.length)) : bent
  const length = kind === 3 ? randomInteger(random, 2 ** 28) : cut.length
  return Buffer.concat([encodeVarint(length), cut])
}

function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => randomInteger(random, 256))
}

describe('garbage is refused, message by message', () => {
  test.each(Object.entries(SCHEMAS))(`${FRAMES} frames: %s`, (_name, schema) => {
    const random = seededRandom(7)
    const valid = Object.values(VALID).flat()
    let refused = 0
    for (let frame = 0; frame < FRAMES; frame += 1) {
      const bytes = garbageFrame(random, valid)
      try {
        const prefix = readLengthPrefix(bytes)
        if (prefix !== undefined) decodeMessage(bytes.subarray(prefix.prefixBytes), schema, 'fuzz')
      } catch (error) {
        if (!isHearthError(error)) throw error
        refused += 1
      }
    }
    expect(refused).toBeGreaterThan(FRAMES / 2)
  })
})

describe('a peer under garbage', () => {
  let folder: string
  let peer: Peer
  let owned: OwnedJobs
  let attacker: Libp2pStack
  const rejections: unknown[] = []
  const onRejection = (reason: unknown): void => void rejections.push(reason)

  beforeAll(async () => {
    process.on('unhandledRejection', onRejection)
    folder = temporaryFolder('fuzz')
    const components = { clock: systemClock, random: seededRandom(1), log: silentLogger }
    peer = await Peer.createServing(components, {
      data: new DataFolder(folder),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      bootstrap: [],
      swarm: TEST_SWARM,
      engine: { engine: 'fake' },
    })
    await peer.start()
    const jobs = { list: () => [], release: () => Promise.resolve(false), run: () => {} }
    const asker = { ask: () => Promise.reject(new Error('nobody is asked')) }
    owned = new OwnedJobs({ ...components, network: peer.network, data: new DataFolder(folder), jobs, asker })
    await owned.start()
    attacker = await startStack()
    await attacker.members.meet(peer.addresses[0]!, { deadlineMs: 5_000 })
  })
  afterAll(async () => {
    await attacker.stop()
    await owned.stop()
    await peer.stop()
    await rm(folder, { recursive: true, force: true })
    process.off('unhandledRejection', onRejection)
  })

  /** One stream with a run of frames on it: right ones first, so that each state of the protocol is reached. */
  async function attack(protocol: string, random: Random, valid: readonly object[]): Promise<void> {
    const [connection] = attacker.node.getConnections()
    const stream = await connection!.newStream(`/hearth/${TEST_SWARM}/${protocol}`)
    try {
      for (let index = randomInteger(random, valid.length + 1); index > 0; index -= 1) {
        const body = encode(valid[index - 1])
        stream.send(Buffer.concat([encodeVarint(body.length), body]))
      }
      for (let frame = 0; frame < 24; frame += 1) stream.send(garbageFrame(random, valid))
    } catch {
      // The peer has ended the stream already, as it should.
    }
    if (random.next() < 0.5) stream.abort(new Error('gone'))
    else await stream.close().catch(() => {})
  }

  test.each(Object.entries(VALID))(
    `${STREAMS} streams of it on %s, and it still answers`,
    async (protocol, valid) => {
      const random = seededRandom(11)
      for (let count = 0; count < STREAMS; count += 1) {
        // A refused stream is an answer too: only four of a protocol are served to one peer at a time.
        await attack(protocol, random, valid).catch(() => {})
      }
      await until('an advert is exchanged after the attack', async () => {
        const wait = { deadlineMs: 2_000 }
        const stream = await attacker.network
          .open(peer.peerId, 'advert/1', { lane: 'control', ...wait })
          .catch(() => undefined)
        await stream?.send({ kind: 'get' }, wait).catch(() => {})
        const answer = await stream?.receive(AdvertAnswerSchema, wait).catch(() => undefined)
        return answer?.kind === 'advert'
      })
      expect(peer.status().tasks.accepts).toBe(true)
      expect(rejections).toEqual([])
    },
  )

  test('garbage on the DHT protocol and on the lane protocol ends those streams only', async () => {
    const random = seededRandom(13)
    for (const protocol of ['kad/1', 'lane/1']) {
      for (let count = 0; count < 40; count += 1)
        await attack(protocol, random, VALID['advert/1']!).catch(() => {})
    }
    expect(peer.status().tasks.accepts).toBe(true)
    expect(rejections).toEqual([])
  })
})
