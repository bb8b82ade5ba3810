import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  CHUNKS_REQUESTED_MAX,
  CHUNK_BYTES,
  CHUNK_RANGES_MAX,
  CONTEXT_CHUNKS_MAX,
  MANIFEST_BYTES_MAX,
  PEERS_TOLD_MAX,
} from '../../../src/base/limits.ts'
import { decodeMessage, encodeMessage, readLengthPrefix } from '../../../src/base/stream/message-codec.ts'
import {
  type FetcherMessage,
  type HolderMessage,
  fetcherMessageSchema,
  holderMessageSchema,
} from '../../../src/context-sharing/wire/messages.ts'

const PAGE = join(import.meta.dirname, '../../../docs/protocol/context.md')

interface Vector {
  side: 'fetcher' | 'holder'
  message: FetcherMessage | HolderMessage
  hex: string
}

async function vectors(): Promise<Vector[]> {
  const [, block = ''] = /```vectors\n([\s\S]*?)```/.exec(await readFile(PAGE, 'utf8')) ?? []
  const found = [...block.matchAll(/^(fetcher|holder) (.*)\n([0-9a-f]+)$/gm)]
  return found.map(([, side, json, hex]) => ({
    side: side as Vector['side'],
    message: JSON.parse(json ?? '', (_key, value: unknown) => fromHex(value)) as Vector['message'],
    hex: hex ?? '',
  }))
}

function fromHex(value: unknown): unknown {
  const { hex } = (value ?? {}) as { hex?: unknown }
  return typeof hex === 'string' ? new Uint8Array(Buffer.from(hex, 'hex')) : value
}

describe('the vectors of the protocol page', () => {
  it('are what the codec makes, and are read back as the same', async () => {
    for (const { side, message, hex } of await vectors()) {
      const frame = encodeMessage(message)
      expect(Buffer.from(frame).toString('hex')).toBe(hex)
      const { prefixBytes = 0 } = readLengthPrefix(frame) ?? {}
      const schema = side === 'fetcher' ? fetcherMessageSchema : holderMessageSchema
      expect(decodeMessage<unknown>(frame.subarray(prefixBytes), schema, 'a vector')).toEqual(message)
    }
  })

  it('show every message', async () => {
    const shown = (await vectors()).map(({ side, message }) => `${side} ${message.type}`)
    expect([...new Set(shown)].sort()).toEqual([
      'fetcher cancel',
      'fetcher claim',
      'fetcher corrupt',
      'fetcher have',
      'fetcher manifest-request',
      'fetcher open',
      'fetcher request',
      'holder absent',
      'holder busy',
      'holder data',
      'holder have',
      'holder holding',
      'holder manifest',
      'holder peers',
      'holder reject',
    ])
  })
})

describe('a message', () => {
  const chunks = (count: number): number[] => Array.from({ length: count }, (_value, chunk) => chunk)
  const ranges = (count: number): [number, number][] => chunks(count).map((chunk) => [chunk, 1])

  it.each<[string, unknown]>([
    ['a contextId that is none', { type: 'open', contextId: 'bafy', priority: 'normal' }],
    ['a request for nothing', { type: 'request', chunks: [] }],
    ['a request for too much', { type: 'request', chunks: chunks(CHUNKS_REQUESTED_MAX + 1) }],
    ['a chunk number that is too high', { type: 'request', chunks: [CONTEXT_CHUNKS_MAX] }],
    ['a negative chunk number', { type: 'corrupt', chunk: -1 }],
    ['a fraction', { type: 'corrupt', chunk: 0.5 }],
    ['too many ranges', { type: 'have', ranges: ranges(CHUNK_RANGES_MAX + 1) }],
    ['an empty range', { type: 'have', ranges: [[0, 0]] }],
    ['a field too many', { type: 'manifest-request', now: true }],
  ])('from a fetcher with %s is refused', (_what, message) => {
    expect(fetcherMessageSchema.safeParse(message).success).toBe(false)
  })

  it.each<[string, unknown]>([
    ['a bitfield that is too short', { type: 'holding', chunks: 9, bitfield: new Uint8Array(1) }],
    [
      'too many chunks',
      { type: 'holding', chunks: CONTEXT_CHUNKS_MAX + 8, bitfield: new Uint8Array(16_385) },
    ],
    ['a manifest that is too long', { type: 'manifest', bytes: MANIFEST_BYTES_MAX + 1 }],
    ['an empty manifest', { type: 'manifest', bytes: 0 }],
    ['a chunk that is too long', { type: 'data', chunk: 0, bytes: CHUNK_BYTES + 1 }],
    ['a wait that is too long', { type: 'busy', chunks: [], retryMs: 60_001, alternatives: [] }],
    ['too many peers', { type: 'peers', peers: chunks(PEERS_TOLD_MAX + 1).map(String) }],
    ['an unknown code', { type: 'reject', code: 'whatever', chunks: [] }],
    ["a fetcher's message", { type: 'cancel', chunks: [0] }],
  ])('from a holder with %s is refused', (_what, message) => {
    expect(holderMessageSchema.safeParse(message).success).toBe(false)
  })
})
