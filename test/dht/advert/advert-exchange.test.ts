import { encode } from '@ipld/dag-cbor'
import { afterEach, expect, test } from 'vitest'
import { isHearthError } from '../../../src/base/errors.ts'
import {
  ADDRESS_BYTES_MAX,
  ADVERT_BYTES_MAX,
  INTRODUCED_PEERS_MAX,
  PEER_ADDRESSES_MAX,
} from '../../../src/base/limits.ts'
import type { MessageStream } from '../../../src/base/stream/message-stream.ts'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'
import { ADVERT_PROTOCOL, AdvertAnswerSchema } from '../../../src/dht/advert/advert-messages.ts'
import { signAdvert } from '../../../src/dht/advert/advert.ts'
import type { Advert, AdvertBody } from '../../../src/dht/advert/advert.ts'
import { temporaryIdentity } from '../../../src/node/home/identity.ts'
import { startPeer, testBody, until } from '../../../testing/libp2p-swarm.ts'
import type { TestPeer } from '../../../testing/libp2p-swarm.ts'

const WAIT = { deadlineMs: 5_000 }
let peers: TestPeer[] = []
afterEach(async () => {
  await Promise.all(peers.map((peer) => peer.stop()))
  peers = []
})

async function start(...args: Parameters<typeof startPeer>): Promise<TestPeer> {
  const peer = await startPeer(...args)
  peers.push(peer)
  return peer
}

async function ask(from: TestPeer, to: TestPeer, question: unknown): Promise<unknown> {
  const stream = await from.stack.network.open(to.id, ADVERT_PROTOCOL, { lane: 'control', ...WAIT })
  await stream.send(question, WAIT)
  const answer = await stream.receive(AdvertAnswerSchema, WAIT)
  await stream.close(WAIT)
  return answer
}

test('two peers that meet know each other within a second, and what changes is told at once', async () => {
  const body: AdvertBody = testBody()
  const a = await start({ describe: () => body })
  const b = await start({ bootstrap: [a.address] })
  await until('they are connected', () => b.stack.members.list().length === 1)
  const knownMs = await until('both know', () =>
    [a, b].every((peer) => peer.adverts.board.known().length === 1),
  )
  expect(knownMs).toBeLessThan(1_000)

  const told: Advert[] = []
  b.adverts.board.onChange((advert) => told.push(advert))
  body.contexts = [{ contextId: 'c1', name: 'facts', tier: 'stored' }]
  a.adverts.changed()
  body.contexts = [{ contextId: 'c1', name: 'facts', tier: 'warm' }]
  body.serving = { accepts: false, reason: 'paused' }
  a.adverts.changed()
  const changeMs = await until('it is told', () => told.length > 0)
  expect(changeMs).toBeLessThan(1_000)
  expect(b.adverts.board.holders('c1').map(({ peer, tier }) => [peer, tier])).toEqual([[a.id, 'warm']])
  expect(told.map(({ serving }) => serving)).toEqual([{ accepts: false, reason: 'paused' }])
})

test('an advert without a change is not sent', async () => {
  const body: AdvertBody = testBody()
  const a = await start({ describe: () => body, adverts: { changeDelayMs: 1 } })
  const b = await start({ bootstrap: [a.address] })
  const sequence = (): number => b.adverts.board.peek(a.id)?.sequence ?? 0
  await until('b knows a', () => sequence() > 0)
  const greeted = sequence()
  body.slots += 1
  a.adverts.changed()
  await until('news is told', () => sequence() > greeted)
  const told = sequence()
  a.adverts.changed()
  for (let more = 0; more < 10; more += 1) await ask(b, a, { kind: 'peers' })
  expect(sequence()).toBe(told)
  body.slots += 1
  a.adverts.changed()
  await until('news is told again', () => sequence() > told)
})

test('get asks only when what is known is too old, and once for those who ask together', async () => {
  let asked = 0
  const describe = (): AdvertBody => {
    asked += 1
    return testBody()
  }
  const a = await start({ describe })
  const b = await start({ bootstrap: [a.address] })
  await until('b knows a', () => b.adverts.board.known().length === 1)
  const known = b.adverts.board.peek(a.id)
  expect(await b.adverts.board.get(a.id, { maxAgeMs: 10_000, ...WAIT })).toBe(known)
  const before = asked
  a.adverts.changed()
  const got = await Promise.all([1, 2, 3].map(() => b.adverts.board.get(a.id, { maxAgeMs: -1, ...WAIT })))
  expect(new Set(got).size).toBe(1)
  expect(got[0]?.sequence).toBeGreaterThan(known!.sequence)
  expect(asked).toBe(before + 1)
  await expect(
    b.adverts.board.get((await temporaryIdentityPeer()).id, { maxAgeMs: 0, deadlineMs: 3_000 }),
  ).rejects.toSatisfy(
    (error) => isHearthError(error, 'peer-unreachable') || isHearthError(error, 'deadline-passed'),
  )
})

test('an advert that is not renewed is dropped after its ttl, and its listeners are told', async () => {
  const adverts = { ttlMs: 700, refreshEveryMs: 60_000 }
  const a = await start({ adverts })
  const b = await start({ bootstrap: [a.address], adverts })
  const lost: string[] = []
  b.adverts.board.onLost((peer) => lost.push(peer))
  await until('b knows a', () => b.adverts.board.known().length === 1)
  await until('it has expired', () => b.adverts.board.known().length === 0)
  await until('the listener is told', () => lost.length === 1)
  expect(lost).toEqual([a.id])
})

test('and one that is renewed is not', async () => {
  const adverts = { ttlMs: 2_000, refreshEveryMs: 300 }
  const a = await start({ adverts })
  const b = await start({ bootstrap: [a.address], adverts })
  await until('b knows a', () => b.adverts.board.known().length === 1)
  for (let look = 0; look < 26; look += 1) {
    expect(b.adverts.board.known()).toHaveLength(1)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
})

test("a put advert is refused when it is not the sender's own or is older than the known one", async () => {
  const a = await start()
  const identity = await temporaryIdentity()
  const b = await start({ bootstrap: [a.address], identity })
  const stranger = await temporaryIdentity()
  await until('a knows b', () => a.adverts.board.known().length === 1)
  const known = a.adverts.board.known()[0]!
  const put = async (advert: Partial<Advert>, key = identity): Promise<unknown> =>
    await ask(b, a, { kind: 'put', advert: await signAdvert({ ...known, ...advert }, key) })
  expect(await put({ sequence: known.sequence + 1 })).toEqual({ kind: 'taken' })
  expect(await put({})).toMatchObject({ kind: 'refused', reason: expect.stringContaining('older') })
  expect(await put({ sequence: known.sequence + 2 }, stranger)).toMatchObject({ kind: 'refused' })
  expect(await put({ sequence: known.sequence + 2, peer: a.id })).toMatchObject({ kind: 'refused' })
  expect(a.adverts.board.known()[0]?.sequence).toBe(known.sequence + 1)
})

test('garbage, wrong shapes and oversize end the stream, and the peer goes on', async () => {
  const a = await start()
  const b = await start({ bootstrap: [a.address] })
  await until('they are connected', () => b.stack.members.list().length === 1)
  const random = seededRandom(99)
  const open = async (): Promise<MessageStream> =>
    await b.stack.network.open(a.id, ADVERT_PROTOCOL, { lane: 'control', ...WAIT })
  const wrong = [
    { kind: 'put' },
    { kind: 'put', advert: { payload: new Uint8Array(ADVERT_BYTES_MAX + 1), signature: new Uint8Array(64) } },
    { kind: 'get', more: 1 },
    { kind: 'unknown' },
    7,
  ]
  for (const question of wrong) {
    const stream = await open()
    await stream.send(question, WAIT)
    await expect(stream.receive(AdvertAnswerSchema, WAIT)).rejects.toMatchObject({ code: 'stream-closed' })
  }
  for (let round = 0; round < 100; round += 1) {
    const stream = await open()
    await stream.sendBytes(
      Uint8Array.from({ length: 1 + randomInteger(random, 200) }, () => randomInteger(random, 256)),
      WAIT,
    )
    stream.abort(new Error('done'))
  }
  const signature = new Uint8Array(64)
  expect(
    await ask(b, a, { kind: 'put', advert: { payload: encode({ nonsense: true }), signature } }),
  ).toMatchObject({ kind: 'refused' })
  expect(await ask(b, a, { kind: 'get' })).toMatchObject({ kind: 'advert' })
})

test('a peer that joins is known to all members within two seconds, also to those that only submit', async () => {
  const first = await start()
  const members = [
    first,
    await start({ bootstrap: [first.address] }),
    await start({ bootstrap: [first.address] }),
    await start({ bootstrap: [first.address], submitOnly: true }),
    await start({ bootstrap: [first.address], submitOnly: true }),
  ]
  const submitters = members.slice(3)
  // Those who only submit listen nowhere, so they know the servers, and only the servers know them.
  await until('the servers are known to all', () =>
    members.every((peer) => knownServers(peer, members.slice(0, 3))),
  )
  const newcomer = await start({ bootstrap: [members[1]!.address] })
  const tookMs = await until('the newcomer is known to all', () =>
    members.every((peer) => peer.adverts.board.peek(newcomer.id) !== undefined),
  )
  expect(tookMs).toBeLessThan(2_500)
  for (const submitter of submitters) expect(submitter.stack.members.list()).toContain(newcomer.id)
})

test('introductions name at most so many addresses of a peer, and none too long to be one', async () => {
  const hub = await start()
  const server = await start({ bootstrap: [hub.address] })
  const asker = await start({ bootstrap: [hub.address], submitOnly: true })
  await until('the hub knows the server', () => hub.adverts.board.peek(server.id) !== undefined)
  const short = Array.from(
    { length: PEER_ADDRESSES_MAX + 4 },
    (_, index) => `/ip4/127.0.0.1/tcp/${index + 1}`,
  )
  hub.stack.members.addressesOf = async () => ['/dns4/'.padEnd(ADDRESS_BYTES_MAX + 1, 'x'), ...short]
  await until('the asker is connected', () => asker.stack.members.list().includes(hub.id))
  const introduced = await asker.adverts.peersOf(hub.id)
  expect(introduced).toEqual([{ peer: server.id, addresses: short.slice(0, PEER_ADDRESSES_MAX) }])
})

test('an introduction over its bounds is refused', () => {
  const introduced = { peer: 'p', addresses: ['/ip4/127.0.0.1/tcp/1'] }
  const isTaken = (peers: unknown): boolean => AdvertAnswerSchema.safeParse({ kind: 'peers', peers }).success
  expect(isTaken(Array.from({ length: INTRODUCED_PEERS_MAX }, () => introduced))).toBe(true)
  expect(isTaken(Array.from({ length: INTRODUCED_PEERS_MAX + 1 }, () => introduced))).toBe(false)
  expect(
    isTaken([{ ...introduced, addresses: Array.from({ length: PEER_ADDRESSES_MAX + 1 }, () => 'a') }]),
  ).toBe(false)
  expect(isTaken([{ ...introduced, addresses: ['a'.repeat(ADDRESS_BYTES_MAX + 1)] }])).toBe(false)
})

function knownServers(peer: TestPeer, servers: TestPeer[]): boolean {
  return servers.every((server) => server === peer || peer.adverts.board.peek(server.id) !== undefined)
}

async function temporaryIdentityPeer(): Promise<{ id: string }> {
  const peer = await startPeer()
  await peer.stop()
  return peer
}
