// How long the addresses of other peers are kept, with an age of a fraction of a second instead of an hour.
import type { PeerId } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { afterEach, expect, test } from 'vitest'
import { ADDRESSED_PEERS_MAX } from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { temporaryIdentity } from '../../../src/node/home/identity.ts'
import { AddressUpkeep } from '../../../src/node/libp2p/address-upkeep.ts'
import type { HostNode } from '../../../src/node/libp2p/host.ts'
import { startPeer, until, type TestPeer, type TestPeerOptions } from '../../../testing/libp2p-swarm.ts'

const AGE_MS = 200
const WAIT = { deadlineMs: 5_000 }
let peers: TestPeer[] = []
afterEach(async () => {
  await Promise.all(peers.map((peer) => peer.stop()))
  peers = []
})

async function start(options: TestPeerOptions = {}): Promise<TestPeer> {
  const peer = await startPeer({ ...options, stack: { timing: { addressAgeMs: AGE_MS } } })
  peers.push(peer)
  return peer
}

async function untilAged(): Promise<void> {
  const endsMs = performance.now() + 3 * AGE_MS
  await until('several ages have passed', () => performance.now() > endsMs)
}

test('a connected peer does not fade: it is introduced, dialled for bulk and remembered after its age', async () => {
  const first = await start()
  const second = await start({ bootstrap: [first.address] })
  await until('they have met', () => first.adverts.board.peek(second.id) !== undefined)
  await untilAged()

  expect(await first.stack.members.addressesOf(second.id)).toHaveLength(1)
  expect(await first.adverts.peersOf(second.id)).toEqual([])
  const newcomer = await start({ bootstrap: [first.address], submitOnly: true })
  await until('a newcomer meets both', () => newcomer.stack.members.list().length === 2)

  let bulkStreams = 0
  await second.stack.network.handle('bulk-test/1', async () => void (bulkStreams += 1))
  const stream = await first.stack.network.open(second.id, 'bulk-test/1', { lane: 'bulk', ...WAIT })
  await until('a bulk stream arrives', () => bulkStreams === 1)
  const bulkConnections = first.stack.node.getConnections().filter((one) => first.stack.lanes.isBulk(one))
  expect(bulkConnections).toEqual([])
  stream.abort(new Error('over'))

  await first.join.stop()
  const remembered = first.saved.at(-1)?.find(({ peer }) => peer === second.id)
  expect(remembered?.addresses).toHaveLength(1)
})

test('a peer that is gone is forgotten after the age', async () => {
  const first = await start()
  const second = await start({ bootstrap: [first.address] })
  await until('they have met', () => first.adverts.board.peek(second.id) !== undefined)
  peers = [first]
  await second.stop()
  await until('it is forgotten', async () => (await first.stack.members.addressesOf(second.id)).length === 0)
})

test('only the addresses that a connected peer says itself are kept', async () => {
  const first = await start()
  const second = await start({ bootstrap: [first.address] })
  await until('they have met', () => first.adverts.board.peek(second.id) !== undefined)
  const own = await first.stack.members.addressesOf(second.id)
  await first.stack.kademlia.learn({ peer: second.id, addresses: ['/ip4/127.0.0.9/tcp/9'] })
  expect(await first.stack.members.addressesOf(second.id)).toHaveLength(2)
  await until('the hearsay is dropped', async () => {
    const now = await first.stack.members.addressesOf(second.id)
    return now.length === 1 && now[0] === own[0]
  })
})

test('no more than ADDRESSED_PEERS_MAX peers that are not connected are kept, the latest heard of', async () => {
  const id = peerIdFromPrivateKey(await temporaryIdentity())
  const addresses = [{ multiaddr: multiaddr('/ip4/127.0.0.9/tcp/9'), isCertified: false }]
  const stored = Array.from({ length: ADDRESSED_PEERS_MAX + 2 }, (_none, index) => ({
    id: Object.assign(Object.create(id) as typeof id, { toString: () => `peer${index}` }),
    addresses,
    updated: 1_000 + index,
  }))
  const deleted: string[] = []
  const node = {
    getPeers: () => [],
    peerStore: {
      all: () => Promise.resolve(stored),
      delete: async (peer: PeerId) => void deleted.push(peer.toString()),
    },
  }
  let look = (): void => {}
  const upkeep = new AddressUpkeep(
    {
      node: node as unknown as HostNode,
      isInTable: (peer) => Promise.resolve(peer === 'peer1'),
      clock: { nowMs: () => 0, wallMs: () => 2_000, schedule: (_ms, run) => ((look = run), () => {}) },
      log: silentLogger,
    },
    { ageMs: 3_600_000 },
  )
  upkeep.start()
  look()
  await until('the oldest has gone', () => deleted.length > 0)
  expect(deleted).toEqual(['peer0'])
})
