import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { tierKey } from '../../src/dht/content-routing.ts'
import type { ProvidedTier } from '../../src/dht/content-routing.ts'
import { HOST_TIMING } from '../../src/node/libp2p/host.ts'
import { startPeer, until } from '../../testing/libp2p-swarm.ts'
import type { TestPeer, TestPeerOptions } from '../../testing/libp2p-swarm.ts'

const CONTEXT = 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'
const OTHER = 'bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
const RECORD_MS = 1_500
const QUICK: TestPeerOptions = {
  stack: {
    timing: {
      recordValidityMs: RECORD_MS,
      recordRenewBeforeMs: RECORD_MS / 2,
      recordCheckEveryMs: RECORD_MS / 8,
    },
  },
}

let peers: TestPeer[] = []
afterEach(async () => {
  await Promise.all(peers.map((peer) => peer.stop()))
  peers = []
})

async function startSwarm(count: number, options: TestPeerOptions = {}): Promise<TestPeer[]> {
  const first = await startPeer(options)
  const others = await Promise.all(
    Array.from({ length: count - 1 }, () => startPeer({ ...options, bootstrap: [first.address] })),
  )
  peers = [first, ...others]
  await Promise.all(others.map((peer) => peer.join.untilJoined({ deadlineMs: 10_000 })))
  return peers
}

/** A peer in a process of its own that provides CONTEXT, in the swarm of `door`. */
async function startProvider(door: TestPeer, recordMs: number): Promise<{ child: ChildProcess; id: string }> {
  const script = new URL('../../testing/provider-process.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [script, door.address, CONTEXT, `${recordMs}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, id: line.toString().trim() }
}

async function find(by: TestPeer, tier: ProvidedTier, contextId = CONTEXT, max = 20): Promise<string[]> {
  const found: string[] = []
  for await (const peer of by.routing.find(contextId, tier, { max, deadlineMs: 5_000 })) found.push(peer)
  return found.sort((a, b) => a.localeCompare(b))
}

/** A provider record is sent, not answered: it may be a moment until it counts. */
async function untilFound(by: TestPeer, tier: ProvidedTier, peers: string[]): Promise<void> {
  const wanted = peers.toSorted((x, y) => x.localeCompare(y)).join()
  await until(`${tier} holders are ${wanted}`, async () => (await find(by, tier)).join() === wanted)
}

test('holders and warm holders are found apart, each once, never oneself, and not those of another context', async () => {
  const [a, b, c, d] = (await startSwarm(4)) as [TestPeer, TestPeer, TestPeer, TestPeer]
  await Promise.all([b, c].map((peer) => peer.routing.provide(CONTEXT, 'stored')))
  await c.routing.provide(CONTEXT, 'warm')
  await untilFound(a, 'stored', [b.id, c.id])
  await untilFound(d, 'stored', [b.id, c.id])
  await untilFound(a, 'warm', [c.id])
  expect(await find(c, 'warm')).toEqual([])
  await untilFound(b, 'stored', [c.id])
  expect(await find(a, 'stored', OTHER)).toEqual([])
  expect(await find(a, 'stored', CONTEXT, 1)).toHaveLength(1)
  const near: string[] = []
  for await (const peer of a.routing.closestPeers(CONTEXT, { max: 20, deadlineMs: 5_000 })) near.push(peer)
  expect(new Set(near)).toEqual(new Set([b.id, c.id, d.id]))
})

test('nobody is found as warm before it says so, nor after it has taken it back and its records have expired', async () => {
  const [a, b] = (await startSwarm(2, QUICK)) as [TestPeer, TestPeer]
  await b.routing.provide(CONTEXT, 'stored')
  expect(await find(a, 'warm')).toEqual([])
  await b.routing.provide(CONTEXT, 'warm')
  await untilFound(a, 'warm', [b.id])
  // Said again and again while it is true.
  const heldMs = performance.now()
  while (performance.now() - heldMs < RECORD_MS * 1.6) {
    expect(await find(a, 'warm')).toEqual([b.id])
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await b.routing.withdraw(CONTEXT, 'warm')
  await until('the record has expired', async () => (await find(a, 'warm')).length === 0, RECORD_MS * 2)
  expect(await find(a, 'stored')).toEqual([b.id])
})

test('newcomers find records that the first peer provided before they joined', async () => {
  const first = await startPeer()
  peers.push(first)
  await first.routing.provide(CONTEXT, 'stored')
  const second = await startPeer({ bootstrap: [first.address] })
  peers.push(second)
  await second.join.untilJoined({ deadlineMs: 5_000 })
  await until('it is found', async () => (await find(second, 'stored')).includes(first.id))
})

test('a peer that stops disappears from look-ups within the record validity and one check', async () => {
  const [a, b, c] = (await startSwarm(3, QUICK)) as [TestPeer, TestPeer, TestPeer]
  await c.routing.provide(CONTEXT, 'stored')
  await untilFound(a, 'stored', [c.id])
  peers = [a, b]
  await c.stop()
  const tookMs = await until(
    'its records are gone',
    async () => (await find(a, 'stored')).length === 0,
    RECORD_MS * 3,
  )
  // Of the constants in use: 120 s and 15 s, so 135 of the 150 allowed.
  expect(tookMs).toBeLessThan(RECORD_MS + RECORD_MS / 8 + 1_000)
})

test('and so does one that is killed; its advert is gone at once', async () => {
  const [a, b] = (await startSwarm(2, QUICK)) as [TestPeer, TestPeer]
  const { child, id: killed } = await startProvider(a, RECORD_MS)
  await untilFound(b, 'stored', [killed])
  await until('its advert is known', () => a.adverts.board.peek(killed) !== undefined)
  child.kill('SIGKILL')
  const advertMs = await until('its advert is gone', () => a.adverts.board.peek(killed) === undefined)
  expect(advertMs).toBeLessThan(3_000)
  await until('it has left the routing table', () => a.stack.kademlia.tableSize === 1)
  await until('its records are gone', async () => (await find(b, 'stored')).length === 0, RECORD_MS * 3)
})

test('a peer that has stopped answering costs a look-up, or a dial, at most 1.5 s', async () => {
  const [a, b] = (await startSwarm(2)) as [TestPeer, TestPeer]
  const { child, id } = await startProvider(a, 60_000)
  await untilFound(b, 'stored', [id])
  await until('it is in the table', () => b.stack.kademlia.tableSize === 2)
  // Frozen, not dead: its kernel goes on accepting connections.
  child.kill('SIGSTOP')
  try {
    const startedMs = performance.now()
    expect(await find(b, 'stored', OTHER)).toEqual([])
    expect(performance.now() - startedMs).toBeLessThan(HOST_TIMING.dhtAnswerMaxMs + 500)
    const addresses = await b.stack.members.addressesOf(id)
    const dialledMs = performance.now()
    const stranger = await startPeer()
    peers.push(stranger)
    await expect(
      stranger.stack.members.meet({ peer: id, addresses }, { deadlineMs: 10_000 }),
    ).rejects.toMatchObject({
      code: 'peer-unreachable',
    })
    expect(performance.now() - dialledMs).toBeLessThan(HOST_TIMING.addressDialMs + 700)
  } finally {
    child.kill('SIGKILL')
  }
})

test('a lookup ends with what it has when its time is up or the caller has enough, and never throws', async () => {
  const [a, b] = (await startSwarm(2)) as [TestPeer, TestPeer]
  await b.routing.provide(CONTEXT, 'stored')
  const controller = new AbortController()
  controller.abort(new Error('enough'))
  const none: string[] = []
  for await (const peer of a.routing.find(CONTEXT, 'stored', {
    max: 5,
    deadlineMs: 1_000,
    signal: controller.signal,
  }))
    none.push(peer)
  expect(none).toEqual([])
  for await (const peer of a.routing.find(CONTEXT, 'stored', { max: 5, deadlineMs: 1_000 })) {
    expect(peer).toBe(b.id)
    break
  }
})

test('the key of a tier is derived from the id, whatever its base, and an id must be a sha2-256 CID', async () => {
  const stored = await tierKey(CONTEXT, 'stored')
  const warm = await tierKey(CONTEXT, 'warm')
  expect(stored.toString()).toBe(CONTEXT)
  expect(warm.toString()).toBe((await tierKey(CONTEXT, 'warm')).toString())
  expect(warm.equals(stored)).toBe(false)
  for (const bad of ['', 'facts', 'bafkreigh2akiscaildc', 'z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'])
    await expect(tierKey(bad, 'stored')).rejects.toMatchObject({ code: 'context-invalid' })
})
