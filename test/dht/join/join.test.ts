import { afterEach, expect, test } from 'vitest'
import { temporaryIdentity } from '../../../src/node/home/identity.ts'
import { startPeer, startStack, until } from '../../../testing/libp2p-swarm.ts'
import type { TestPeer } from '../../../testing/libp2p-swarm.ts'

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

test('the first peer of a swarm needs nobody', async () => {
  const first = await start()
  await first.join.untilJoined({ deadlineMs: 100 })
  expect(first.join.state).toEqual({ joined: true, routingTableSize: 0, lastError: undefined })
})

test('30 peers that start at once all get a routing table', async () => {
  const first = await start()
  const others = await Promise.all(Array.from({ length: 29 }, () => start({ bootstrap: [first.address] })))
  await Promise.all(others.map((peer) => peer.join.untilJoined({ deadlineMs: 60_000 })))
  expect(peers.every((peer) => peer.join.state.joined)).toBe(true)
}, 80_000)

test('a bootstrap peer that is down is told as the reason, and joined through as soon as it is up', async () => {
  const identity = await temporaryIdentity()
  // A port that was free a moment ago.
  const probe = await startStack()
  const listen = probe.addresses[0]!.replace(/\/p2p\/.*$/, '')
  await probe.stop()
  const early = await start({ bootstrap: [listen] })
  const join = { deadlineMs: 300 }
  await expect(early.join.untilJoined(join)).rejects.toMatchObject({
    code: 'no-peers',
    message: expect.stringContaining('ECONNREFUSED'),
  })
  expect(early.join.state).toMatchObject({ joined: false, routingTableSize: 0 })
  const bootstrap = await start({ identity, stack: { listen: [listen] } })
  await early.join.untilJoined({ deadlineMs: 10_000 })
  await until('both know each other', () => bootstrap.stack.members.list().includes(early.id))
  expect(early.join.state.routingTableSize).toBe(1)
})

test('a peer that starts again joins through the peers it remembers, though its bootstrap peer is gone', async () => {
  const bootstrap = await start()
  const friend = await start({ bootstrap: [bootstrap.address] })
  const first = await start({ bootstrap: [bootstrap.address] })
  await until('it has met both', () => first.stack.members.list().length === 2)
  peers = [friend]
  await bootstrap.stop()
  await first.stop()
  const remembered = first.saved.at(-1)!
  expect(remembered.map(({ peer }) => peer)).toContain(friend.id)
  const again = await start({ bootstrap: [bootstrap.address], remembered })
  await until('it has met its friend again', () => again.stack.members.list().includes(friend.id))
  await again.join.untilJoined({ deadlineMs: 5_000 })
})

test('a peer whose remembered peers are all gone is the first of its swarm', async () => {
  const remembered = [
    {
      peer: (await start()).id,
      addresses: ['/ip4/127.0.0.1/tcp/1'],
      lastSeenMs: 1,
    },
  ]
  const again = await start({ remembered })
  await again.join.untilJoined({ deadlineMs: 5_000 })
  expect(again.join.state.routingTableSize).toBe(0)
})

test('a peer that loses everybody finds them again without being told', async () => {
  const identity = await temporaryIdentity()
  const hub = await start({ identity })
  const other = await start({ bootstrap: [hub.address] })
  await other.join.untilJoined({ deadlineMs: 5_000 })
  peers = [other]
  await hub.stop()
  await until('the table is empty', () => other.join.state.routingTableSize === 0)
  await until('and it says so', () => !other.join.state.joined && other.join.state.lastError !== undefined)
  await start({ identity, stack: { listen: [hub.address.replace(/\/p2p\/.*$/, '')] } })
  await until('it is back', () => other.join.state.routingTableSize === 1)
})

test('a bootstrap peer of another swarm is the reason given', async () => {
  const elsewhere = await start({ swarm: 'elsewhere' })
  const lost = await start({ bootstrap: [elsewhere.address] })
  await until('it says why', () => lost.join.state.lastError !== undefined)
  expect(lost.join.state.lastError).toMatchObject({ code: 'swarm-mismatch' })
  await expect(lost.join.untilJoined({ deadlineMs: 50 })).rejects.toThrow(/elsewhere/)
})

test('two halves that formed while their bootstrap peer was away become one when it is back', async () => {
  const identity = await temporaryIdentity()
  const hub = await start({ identity })
  const join = { restMinMs: 100, smallRestMaxMs: 300 }
  const [left, right] = [
    await start({ bootstrap: [hub.address], join }),
    await start({ bootstrap: [hub.address], join }),
  ]
  peers = [left, right]
  await hub.stop()
  await start({ identity, stack: { listen: [hub.address.replace(/\/p2p\/.*$/, '')] } })
  await until('they have met', () => left.stack.members.list().includes(right.id))
})
