import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  CHUNKS_REQUESTED_MAX,
  CHUNK_BYTES,
  MANIFEST_BYTES_MAX,
  UPLOAD_SESSIONS_MAX,
} from '../../../src/base/limits.ts'
import type { MessageStream } from '../../../src/base/stream/message-stream.ts'
import type { HeldContext } from '../../../src/context-sharing/store/held-context.ts'
import { encodeManifest, contextIdOf } from '../../../src/context-sharing/content/manifest.ts'
import { CONTEXT_PROTOCOL, holderMessageSchema } from '../../../src/context-sharing/wire/messages.ts'
import {
  Closers,
  type HolderBehaviour,
  type SharingPeer,
  WAIT,
  honestChunk,
  modelFiles,
  openStore,
  sendChunk,
  startHolder,
  startPeers,
  storedFiles,
  writeFiles,
} from '../../../testing/sharing-peers.ts'
import { introduceNodes } from '../../../testing/libp2p-pair.ts'

const closers = new Closers()
let context: HeldContext
let holder: SharingPeer
let contexts = 0

/** A context that no peer of this file has fetched before. */
async function newContext(): Promise<HeldContext> {
  contexts += 1
  const folder = await writeFiles(await closers.temporaryFolder(), {
    ...modelFiles('hostile', CHUNK_BYTES + 9),
    'config.json': JSON.stringify({ contexts }),
  })
  const { contextId } = await holder.store.import(folder)
  return holder.store.held(contextId)!
}

beforeAll(async () => {
  ;[holder] = (await startPeers(closers, 1)) as [SharingPeer]
  context = await newContext()
})
afterAll(() => closers.run())

const ofTest = new Closers()
afterEach(() => ofTest.run())

describe('a fetcher', () => {
  const raw = (bytes: Uint8Array) => async (stream: MessageStream) => {
    await stream.sendBytes(bytes, WAIT)
    return 'done' as const
  }
  const says = (message: object) => async (stream: MessageStream) => {
    await stream.send(message, WAIT)
    return 'done' as const
  }
  const holding = { type: 'holding', chunks: 1, bitfield: Uint8Array.of(0x80) }

  it.each<[string, HolderBehaviour]>([
    ['garbage', { onOpen: raw(new Uint8Array(64).fill(0xa5)) }],
    ['a message of 256 MiB', { onOpen: raw(Uint8Array.of(0xff, 0xff, 0xff, 0x7f)) }],
    ['nothing', { onOpen: async () => 'done' }],
    ['half a message', { onOpen: raw(Uint8Array.of(0x30, 0xa1)) }],
    ['an unknown message', { onOpen: says({ type: 'hello' }) }],
    ['an unknown field', { onOpen: says({ ...holding, more: 1 }) }],
    ['a bitfield of another length', { onOpen: says({ ...holding, chunks: 100 }) }],
    ['too many chunks', { onOpen: says({ ...holding, chunks: 2 ** 40 }) }],
    ['another context', { onOpen: says(holding) }],
    ['that it is busy', { onOpen: says({ type: 'busy', chunks: [], retryMs: 10, alternatives: ['x'] }) }],
    ['that it has nothing', { onOpen: says({ type: 'absent' }) }],
    [
      'a manifest that is too long',
      {
        onManifestRequest: async (stream) =>
          await stream.send({ type: 'manifest', bytes: MANIFEST_BYTES_MAX + 1 }, WAIT),
      },
    ],
    [
      'the manifest of another context',
      {
        async onManifestRequest(stream, of) {
          const other = encodeManifest({ ...of.manifest, runtime: { ...of.manifest.runtime, dtype: 'evil' } })
          await stream.send({ type: 'manifest', bytes: other.byteLength }, WAIT)
          await stream.sendBytes(other, WAIT)
        },
      },
    ],
    [
      'a chunk that was not asked for',
      {
        onRequest: async (stream, chunk, of) =>
          await sendChunk(
            stream,
            (chunk + 1) % of.map.count,
            await honestChunk(of, (chunk + 1) % of.map.count),
          ),
      },
    ],
    [
      'a chunk of another length',
      { onRequest: async (stream, chunk) => await sendChunk(stream, chunk, new Uint8Array(9)) },
    ],
    [
      'a chunk cut short',
      {
        async onRequest(stream, chunk) {
          await stream.send({ type: 'data', chunk, bytes: CHUNK_BYTES }, WAIT)
          await stream.sendBytes(new Uint8Array(1000), WAIT)
          await stream.close(WAIT)
        },
      },
    ],
    [
      'that it does not hold what it announced',
      {
        onRequest: async (stream, chunk) =>
          await stream.send({ type: 'reject', code: 'not-held', chunks: [chunk] }, WAIT),
      },
    ],
    [
      'ranges behind the end',
      {
        async onRequest(stream, chunk, of) {
          await stream.send({ type: 'have', ranges: [[0, 131_072]] }, WAIT)
          await sendChunk(stream, chunk, await honestChunk(of, chunk))
        },
      },
    ],
  ])('that is sent %s by one holder gets the context from another', async (_what, behaviour) => {
    const of = await newContext()
    const hostile = await startHolder(ofTest, of, behaviour)
    const [fetcher] = await startPeers(ofTest, 1)
    await introduceNodes([fetcher!.node, hostile.node, holder.node])
    fetcher!.holders = [hostile.id, holder.id]
    await fetcher!.sharing.fetch(of.contextId)
    expect(fetcher!.store.tier(of.contextId)).toEqual({ kind: 'stored' })
  })

  it('keeps a file apart from another with its hash: what a manifest says of the whole is checked by nobody', async () => {
    const honest = await newContext()
    const hashes = honest.manifest.files.map(({ sha256 }) => sha256)
    const files = context.manifest.files.map((file, index) => ({ ...file, sha256: hashes[index]! }))
    const manifestBytes = encodeManifest({ ...context.manifest, files })
    const contextId = contextIdOf(manifestBytes)
    const liar = await startHolder(closers, context, {
      async onManifestRequest(stream) {
        await stream.send({ type: 'manifest', bytes: manifestBytes.byteLength }, WAIT)
        await stream.sendBytes(manifestBytes, WAIT)
      },
    })
    const [fetcher] = await startPeers(ofTest, 1)
    await introduceNodes([fetcher!.node, liar.node, holder.node])
    fetcher!.holders = [liar.id]
    await fetcher!.sharing.fetch(contextId)
    fetcher!.holders = [holder.id]
    await fetcher!.sharing.fetch(honest.contextId)
    for (const id of [contextId, honest.contextId]) {
      const fetched = fetcher!.store.held(id)!
      for (const chunk of fetched.held) expect(await fetched.check(chunk)).toBe(true)
    }
    expect(await storedFiles(fetcher!.store, contextId)).toEqual(
      await storedFiles(holder.store, context.contextId),
    )
    expect(await storedFiles(fetcher!.store, honest.contextId)).toEqual(
      await storedFiles(holder.store, honest.contextId),
    )
  })
})

describe('a holder', () => {
  let other: SharingPeer
  beforeAll(async () => {
    ;[other] = (await startPeers(closers, 1)) as [SharingPeer]
    await introduceNodes([other.node, holder.node])
  })

  const openStream = async (): Promise<MessageStream> =>
    await other.node.network.open(holder.id, CONTEXT_PROTOCOL, { lane: 'bulk', ...WAIT })
  const open = { type: 'open', contextId: '', priority: 'normal' }

  /** What the holder says to these messages, until it ends the stream or has said `count` things. */
  async function answers(messages: object[], count: number): Promise<string[]> {
    const stream = await openStream()
    const said: string[] = []
    try {
      for (const message of messages) await stream.send(message, WAIT)
      while (said.length < count) {
        const answer = await stream.receive(holderMessageSchema, WAIT)
        if (answer === undefined) break
        said.push(answer.type === 'reject' ? `reject ${answer.code}` : answer.type)
        if (answer.type === 'data') await stream.receiveBytes(answer.bytes, WAIT)
      }
    } catch {
      said.push('end')
    }
    stream.abort(new Error('over'))
    return said
  }

  it('says that it does not hold what it does not hold', async () => {
    expect(await answers([{ ...open, contextId: `bafyrei${'a'.repeat(52)}` }], 2)).toEqual(['absent'])
  })

  it('refuses messages out of turn', async () => {
    expect(await answers([{ type: 'request', chunks: [0] }], 2)).toEqual(['reject out-of-turn'])
    const twice = { ...open, contextId: context.contextId }
    expect(await answers([twice, twice], 3)).toEqual(['holding', 'reject out-of-turn'])
  })

  it('refuses chunks that the context does not have', async () => {
    const messages = [
      { ...open, contextId: context.contextId },
      { type: 'request', chunks: [131_071] },
    ]
    expect(await answers(messages, 2)).toEqual(['holding', 'reject not-held'])
  })

  it('is busy, naming others, when it serves as many sessions as it may', async () => {
    const message = { ...open, contextId: context.contextId }
    const [third, last] = await startPeers(ofTest, 2)
    await introduceNodes([third!.node, last!.node, holder.node])
    const openFrom = async (peer: SharingPeer): Promise<MessageStream> => {
      const stream = await peer.node.network.open(holder.id, CONTEXT_PROTOCOL, { lane: 'bulk', ...WAIT })
      await stream.send(message, WAIT)
      return stream
    }
    const streams: MessageStream[] = []
    for (let count = 0; count < UPLOAD_SESSIONS_MAX; count += 1) {
      const stream = await openFrom(count % 2 === 0 ? other : third!)
      expect((await stream.receive(holderMessageSchema, WAIT))?.type).toBe('holding')
      streams.push(stream)
    }
    const answer = await (await openFrom(last!)).receive(holderMessageSchema, WAIT)
    expect(answer).toMatchObject({ type: 'busy', chunks: [] })
    const named = answer?.type === 'busy' ? answer.alternatives : []
    expect(named.toSorted()).toEqual([other.id, third!.id].sort())
    for (const stream of streams) stream.abort(new Error('over'))
  })

  it('ends a stream on which more is asked for than the limit', async () => {
    const chunks = Array.from({ length: CHUNKS_REQUESTED_MAX + 1 }, (_value, chunk) => chunk)
    const messages = [
      { ...open, contextId: context.contextId },
      { type: 'request', chunks },
    ]
    expect(await answers(messages, 3)).toEqual(['holding', 'end'])
  })

  it('looks at its disk when a fetcher complains, and goes on', async () => {
    const messages = [
      { ...open, contextId: context.contextId },
      { type: 'corrupt', chunk: 0 },
      { type: 'claim', ranges: [[0, 131_072]] },
      { type: 'request', chunks: [0] },
    ]
    expect(await answers(messages, 2)).toEqual(['holding', 'data'])
  })

  it('survives any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        const stream = await openStream()
        await stream.sendBytes(bytes, WAIT)
        stream.abort(new Error('over'))
      }),
      { numRuns: 20 },
    )
    expect(await answers([{ ...open, contextId: context.contextId }], 1)).toEqual(['holding'])
  })
})

it('a store of this file is still whole', async () => {
  expect(holder.store.tier(context.contextId)).toEqual({ kind: 'stored' })
  await openStore(closers)
})
