import { readFile } from 'node:fs/promises'
import { encode } from '@ipld/dag-cbor'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { beforeAll, expect, test } from 'vitest'
import { ADVERT_BYTES_MAX, ADVERT_CONTEXTS_MAX, ADVERT_TTL_MS_MAX } from '../../../src/base/limits.ts'
import { AdvertSigner } from '../../../src/dht/advert/advert-signer.ts'
import {
  ADVERT_CLOCK_SKEW_MS_MAX,
  ADVERT_VERSION,
  signAdvert,
  verifyAdvert,
} from '../../../src/dht/advert/advert.ts'
import type { Advert, AdvertBody, SignedAdvert } from '../../../src/dht/advert/advert.ts'
import { temporaryIdentity } from '../../../src/node/home/identity.ts'
import { testBody } from '../../../testing/libp2p-swarm.ts'

const NOW_MS = 1_800_000_000_000
let key: PrivateKey
let peer: string
beforeAll(async () => {
  key = await temporaryIdentity()
  peer = peerIdFromPrivateKey(key).toString()
})

function advertOf(change: Partial<Advert> = {}): Advert {
  return {
    ...testBody({
      contexts: [{ contextId: 'bafy', name: 'facts', tier: 'partial', share: 0.5, tokensPerSecond: 12.5 }],
    }),
    version: ADVERT_VERSION,
    peer,
    sequence: 7,
    issuedAtMs: NOW_MS,
    ttlMs: ADVERT_TTL_MS_MAX,
    ...change,
  }
}

/** Signs anything at all, as a peer might that follows no rules. */
async function signAnything(value: unknown): Promise<SignedAdvert> {
  const payload = encode(value)
  const domain = new TextEncoder().encode('hearth-advert/1\n')
  return { payload, signature: await key.sign(Buffer.concat([domain, payload])) }
}

async function refusal(signed: SignedAdvert, from: string = peer, nowMs: number = NOW_MS): Promise<string> {
  try {
    await verifyAdvert(signed, from, nowMs)
  } catch (error) {
    expect(error).toMatchObject({ code: 'message-invalid' })
    return (error as Error).message
  }
  return 'it was accepted'
}

test('an advert comes out as it was signed, without the fields that were left out', async () => {
  const advert = advertOf({ serving: { accepts: false, reason: 'paused' } })
  expect(await verifyAdvert(await signAdvert(advert, key), peer, NOW_MS)).toEqual(advert)
  const bare = advertOf({ serving: { accepts: true, reason: undefined } })
  expect(await verifyAdvert(await signAdvert(bare, key), peer, NOW_MS)).toEqual({
    ...bare,
    serving: { accepts: true },
  })
})

test('one bit changed anywhere is refused', async () => {
  const signed = await signAdvert(advertOf(), key)
  for (const part of ['payload', 'signature'] as const) {
    for (let at = 0; at < signed[part].byteLength; at += 13) {
      const bytes = signed[part].slice()
      bytes[at]! ^= 1
      expect(await refusal({ ...signed, [part]: bytes })).toContain('not signed by that peer')
    }
  }
})

test('an advert of one peer that another sends is refused, and so is one that names another', async () => {
  const other = peerIdFromPrivateKey(await temporaryIdentity()).toString()
  expect(await refusal(await signAdvert(advertOf(), key), other)).toContain('not signed by that peer')
  expect(await refusal(await signAdvert(advertOf({ peer: other }), key))).toContain('of another peer')
})

test('a signature made for something else is refused', async () => {
  const payload = encode(advertOf())
  expect(await refusal({ payload, signature: await key.sign(payload) })).toContain('not signed by that peer')
})

test('adverts long expired or far in the future are refused; clocks that are hours apart are accepted', async () => {
  const signed = await signAdvert(advertOf(), key)
  const lastMs = NOW_MS + ADVERT_TTL_MS_MAX + ADVERT_CLOCK_SKEW_MS_MAX
  expect(await refusal(signed, peer, lastMs)).toBe('it was accepted')
  expect(await refusal(signed, peer, lastMs + 1)).toContain('expired')
  expect(await refusal(signed, peer, NOW_MS - ADVERT_CLOCK_SKEW_MS_MAX)).toBe('it was accepted')
  expect(await refusal(signed, peer, NOW_MS - ADVERT_CLOCK_SKEW_MS_MAX - 1)).toContain('future')
})

test.each<[string, unknown]>([
  ['another version', { ...advertOf(), version: 2 }],
  ['a ttl over the limit', { ...advertOf(), ttlMs: ADVERT_TTL_MS_MAX + 1 }],
  ['an unknown field', { ...advertOf(), price: 3 }],
  ['a negative sequence', { ...advertOf(), sequence: -1 }],
  ['an unknown tier', { ...advertOf(), contexts: [{ contextId: 'b', name: 'n', tier: 'hot' }] }],
  [
    'a share over 1',
    { ...advertOf(), contexts: [{ contextId: 'b', name: 'n', tier: 'partial', share: 1.1 }] },
  ],
  ['too many contexts', { ...advertOf(), contexts: manyContexts(ADVERT_CONTEXTS_MAX + 1, 4) }],
  ['no map', [1, 2, 3]],
])('an advert with %s is refused', async (_what, value) => {
  const withPeer = Array.isArray(value) ? value : { ...(value as object), peer }
  expect(await refusal(await signAnything(withPeer))).not.toBe('it was accepted')
})

test('an advert over ADVERT_BYTES_MAX is refused, and never made', async () => {
  const huge = advertOf({ contexts: manyContexts(ADVERT_CONTEXTS_MAX, 128, 'i'.repeat(128)) })
  expect(await refusal(await signAnything(huge))).toContain('too large')
  await expect(signAdvert(huge, key)).rejects.toMatchObject({ code: 'limit-reached' })
  await expect(signAdvert(advertOf({ slots: -1 }), key)).rejects.toMatchObject({ code: 'internal' })
})

test('a signer leaves out the least useful contexts when not all fit, and counts up also across a restart', async () => {
  let wallMs = NOW_MS
  let nowMs = 0
  const clock = { nowMs: () => nowMs, wallMs: () => wallMs, schedule: () => () => {} }
  const contexts = [
    ...manyContexts(ADVERT_CONTEXTS_MAX * 2, 100),
    { contextId: 'w', name: 'warm one', tier: 'warm' as const },
  ]
  const start = (): AdvertSigner =>
    new AdvertSigner(
      { members: { self: peer }, clock, key, describe: (): AdvertBody => testBody({ contexts }) },
      { ttlMs: ADVERT_TTL_MS_MAX, reuseMs: 5_000 },
    )
  const signer = start()
  const read = async (from: AdvertSigner): Promise<Advert> =>
    await verifyAdvert(await from.sign(), peer, wallMs)
  const first = await read(signer)
  expect((await signer.sign()).payload.byteLength).toBeLessThanOrEqual(ADVERT_BYTES_MAX)
  expect(first.contexts[0]?.contextId).toBe('w')
  expect(first.contexts.length).toBeGreaterThan(ADVERT_CONTEXTS_MAX / 4)
  expect((await read(signer)).sequence).toBe(first.sequence)
  signer.changed()
  const second = await read(signer)
  expect(second.sequence).toBe(first.sequence + 1)
  nowMs += 6_000
  wallMs += 6_000
  expect((await read(signer)).sequence).toBeGreaterThan(second.sequence)
  wallMs += 1_000
  expect((await read(start())).sequence).toBeGreaterThan(second.sequence)
})

test('eight warm contexts, each with all there is to say of it, fit in 2 KiB', async () => {
  const contexts = Array.from({ length: 8 }, (_, index) => ({
    contextId: `bafyrei${String(index).repeat(52)}`,
    name: `a-model-with-a-name-${index}`,
    tier: 'warm' as const,
    bytes: 5_000_000_000,
    isBusy: true,
    numericClass: 'ort-delta-1.30.0.2/webgpu/fp32/x64-avx512_vnni/0123456789abcdef',
    tokensPerSecond: 1_234,
  }))
  const { payload } = await signAdvert(advertOf({ contexts }), key)
  expect(payload.byteLength).toBeLessThan(2_048)
})

test('the vectors of docs/protocol/advert.md hold', async () => {
  const page = await readFile(new URL('../../../docs/protocol/advert.md', import.meta.url), 'utf8')
  const vectors = JSON.parse(/```json\n([\s\S]*?)\n```/.exec(page)![1]!) as {
    secretKey: string
    peer: string
    advert: Advert
    payload: string
    signature: string
  }
  const fixed = privateKeyFromRaw(Buffer.from(vectors.secretKey, 'hex'))
  expect(peerIdFromPrivateKey(fixed).toString()).toBe(vectors.peer)
  const signed = await signAdvert(vectors.advert, fixed)
  expect(Buffer.from(signed.payload).toString('hex')).toBe(vectors.payload)
  expect(Buffer.from(signed.signature).toString('hex')).toBe(vectors.signature)
  expect(await verifyAdvert(signed, vectors.peer, vectors.advert.issuedAtMs)).toEqual(vectors.advert)
})

function manyContexts(count: number, nameLength: number, prefix = 'id'): Advert['contexts'] {
  return Array.from({ length: count }, (_, index) => ({
    contextId: `${index}${prefix}`.slice(0, 128),
    name: 'n'.repeat(nameLength),
    tier: 'stored' as const,
  }))
}
