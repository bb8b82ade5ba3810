import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { ZodType } from 'zod'
import { ORIGINS_WANTED_MAX } from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { decodeMessage, encodeMessage, readLengthPrefix } from '../../../src/base/stream/message-codec.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { originIdOf, originIdOfManifest } from '../../../src/context-sharing/content/origin-id.ts'
import {
  ORIGIN_PROTOCOL,
  type OriginAnswer,
  type OriginPhase,
  type OriginQuestion,
  originAnswerSchema,
  originQuestionSchema,
} from '../../../src/context-sharing/wire/origin-messages.ts'
import { Origins } from '../../../src/context-sharing/origin/origins.ts'
import { startBareNode } from '../../../testing/libp2p-pair.ts'
import {
  Closers,
  type SharingPeer,
  WAIT,
  modelFiles,
  startPeers,
  writeFiles,
} from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

const WAITING: OriginPhase = { type: 'waiting' }

interface OriginPeer extends SharingPeer {
  origins: Origins
  /** Whom it asks. */
  others: string[]
  /** Models that it says in the DHT that it downloads. */
  announced: Set<string>
}

async function startOriginPeers(count: number): Promise<OriginPeer[]> {
  const peers = await startPeers(closers, count)
  const ids = peers.map(({ id }) => id)
  return await Promise.all(
    peers.map(async (peer) => {
      const others = [...ids]
      const announced = new Set<string>()
      const origins = new Origins({
        network: peer.node.network,
        store: peer.store,
        swarm: {
          peersToAsk: () => Promise.resolve(others),
          announce: (originId) => announced.add(originId),
          withdraw: (originId) => announced.delete(originId),
        },
        manifestOf: (contextId, signal) => peer.sharing.manifest(contextId, { signal }),
        clock: systemClock,
        log: silentLogger,
      })
      await origins.start()
      closers.add(() => origins.stop())
      return Object.assign(peer, { origins, others, announced })
    }),
  )
}

async function importModel(
  peer: SharingPeer,
  seed: string,
): Promise<{ contextId: string; originId: string }> {
  const folder = await writeFiles(await closers.temporaryFolder(), modelFiles(seed, 100_000))
  const { contextId } = await peer.store.import(folder)
  return { contextId, originId: originIdOfManifest(peer.store.held(contextId)!.manifest) }
}

describe('origin/1', () => {
  it('lets one peer download, and says to the others whom they wait for', async () => {
    const [a, b] = (await startOriginPeers(2)) as [OriginPeer, OriginPeer]
    const originId = 'bafkrei'.padEnd(59, 'a')
    expect(await a.origins.want(originId, WAITING, [])).toEqual({ kind: 'download' })
    expect([...a.announced]).toEqual([originId])
    expect(await b.origins.want(originId, WAITING, [])).toMatchObject({ kind: 'wait', peer: a.id, bytes: 0 })
    await a.origins.want(originId, { type: 'downloading', bytes: 70 }, [])
    expect(await b.origins.want(originId, WAITING, [])).toMatchObject({ peer: a.id, bytes: 70 })
    a.origins.release(originId)
    expect([...a.announced]).toEqual([])
    expect(await b.origins.want(originId, WAITING, [])).toEqual({ kind: 'download' })
  })

  it('finds who has the model, however it came there', async () => {
    const [a, b] = (await startOriginPeers(2)) as [OriginPeer, OriginPeer]
    const { contextId, originId } = await importModel(a, 'model')
    b.holders.push(a.id)
    const stored = { kind: 'stored', contextId, peer: a.id }
    expect(await a.origins.want(originId, WAITING, [])).toEqual(stored)
    expect(await b.origins.want(originId, WAITING, [])).toEqual(stored)
    expect(await b.origins.want(originId, WAITING, [contextId])).toEqual({ kind: 'download' })
  })

  it('takes no other context for the model, whatever a peer says', async () => {
    const [a, b] = (await startOriginPeers(2)) as [OriginPeer, OriginPeer]
    const [other, { originId }] = [await importModel(a, 'other'), await importModel(b, 'model')]
    await b.store.remove(b.store.list()[0]!.contextId)
    const liar = await startBareNode()
    closers.add(() => liar.stop())
    await liar.network.handle(ORIGIN_PROTOCOL, async (stream) => {
      await stream.receive(originQuestionSchema, WAIT)
      await stream.send({ type: 'stored', contextId: other.contextId }, WAIT)
    })
    await b.node.node.dial(liar.node.getMultiaddrs())
    b.others.push(liar.network.self)
    b.holders.push(a.id)
    expect(await b.origins.want(originId, WAITING, [])).toEqual({ kind: 'download' })
  })

  it('keeps no more models than ORIGINS_WANTED_MAX in mind', async () => {
    const [peer] = (await startOriginPeers(1)) as [OriginPeer]
    const idOf = (index: number): string => `bafkrei${String.fromCodePoint(97 + index)}`.padEnd(59, 'a')
    for (let index = 0; index < ORIGINS_WANTED_MAX; index += 1)
      await peer.origins.want(idOf(index), WAITING, [])
    const oneMore = idOf(ORIGINS_WANTED_MAX)
    await expect(peer.origins.want(oneMore, WAITING, [])).rejects.toMatchObject({ code: 'limit-reached' })
    peer.origins.release(idOf(0))
    expect(await peer.origins.want(oneMore, WAITING, [])).toEqual({ kind: 'download' })
  })
})

describe('an originId', () => {
  const runtime = { engine: 'onnxruntime', format: 'onnx', entry: 'model.onnx', dtype: 'fp32' }
  const file = (path: string, fill: number | undefined) => ({
    path,
    size: 10,
    class: path.endsWith('.onnx') ? ('weights' as const) : ('config' as const),
    sha256: fill === undefined ? undefined : new Uint8Array(32).fill(fill),
  })

  it('is the same before and after the download: of small files the hash is not known before', () => {
    const before = originIdOf(runtime, [file('model.onnx', 1), file('config.json', undefined)])
    const after = originIdOf(runtime, [file('config.json', 2), file('model.onnx', 1)])
    expect(after).toBe(before)
  })

  it('is another one for other weights, another size or dtype, and none without the hash of the weights', () => {
    const ids = [
      originIdOf(runtime, [file('model.onnx', 1)]),
      originIdOf(runtime, [file('model.onnx', 2)]),
      originIdOf(runtime, [{ ...file('model.onnx', 1), size: 11 }]),
      originIdOf({ ...runtime, dtype: 'q4' }, [file('model.onnx', 1)]),
    ]
    expect(new Set(ids).size).toBe(4)
    expect(originIdOf(runtime, [file('model.onnx', undefined)])).toBeUndefined()
  })
})

it('the vectors of docs/protocol/origin.md hold', async () => {
  const page = await readFile(join(import.meta.dirname, '../../../docs/protocol/origin.md'), 'utf8')
  const [, block = ''] = /```vectors\n([\s\S]*?)```/.exec(page) ?? []
  const vectors = [...block.matchAll(/^(\{.*\})\n([0-9a-f]+)$/gm)]
  const types = vectors.map(([, json = '', hex]) => {
    const message = JSON.parse(json) as OriginQuestion | OriginAnswer
    const frame = encodeMessage(message)
    expect(Buffer.from(frame).toString('hex')).toBe(hex)
    const { prefixBytes = 0 } = readLengthPrefix(frame) ?? {}
    const schema: ZodType<unknown> = message.type === 'ask' ? originQuestionSchema : originAnswerSchema
    expect(decodeMessage(frame.subarray(prefixBytes), schema, 'a vector')).toEqual(message)
    return message.type
  })
  expect(types).toEqual(['ask', 'none', 'waiting', 'downloading', 'importing', 'stored'])
})
