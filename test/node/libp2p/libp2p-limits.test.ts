// Reaches the bounds on what one remote machine may take of our libp2p host.
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Libp2p } from 'libp2p'
import { afterEach, expect, test } from 'vitest'
import {
  CONNECTIONS_KEPT_FOR_KNOWN,
  CONNECTIONS_MAX,
  CONNECTIONS_PER_PEER_MAX,
  CONNECTION_STREAMS_MAX,
  FOREIGN_PEERS_REMEMBERED_MAX,
  INBOUND_CONNECTIONS_PENDING_MAX,
  INBOUND_CONNECTIONS_PER_SECOND_MAX,
} from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import type { HostNode } from '../../../src/node/libp2p/host.ts'
import { Libp2pMembers, MEMBERS_OPTIONS } from '../../../src/node/libp2p/members.ts'
import type { Libp2pStack } from '../../../src/node/network-stack.ts'
import { startStack, until } from '../../../testing/libp2p-swarm.ts'

let closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.toReversed()) await close()
  closers = []
})

async function start(): Promise<Libp2pStack> {
  const stack = await startStack()
  closers.push(() => stack.stop())
  return stack
}

/** A libp2p node that keeps to none of our bounds. */
async function startGreedy(): Promise<Libp2p> {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { maxConnections: 1_000 },
    connectionMonitor: { enabled: false },
  })
  closers.push(() => node.stop())
  return node
}

/** Plain sockets to `stack`; resolves with those that it has not closed after a moment. */
async function openSockets(stack: Libp2pStack, count: number): Promise<Socket[]> {
  const port = Number(/\/tcp\/(\d+)/.exec(stack.addresses[0]!)![1])
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'))
  const refused = new Set<Socket>()
  for (const socket of sockets) {
    closers.push(() => socket.destroy())
    socket.resume()
    socket.on('error', () => refused.add(socket))
    socket.on('close', () => refused.add(socket))
  }
  await Promise.all(sockets.map((socket) => once(socket, 'connect').catch(() => undefined)))
  await new Promise((resolve) => setTimeout(resolve, 150))
  return sockets.filter((socket) => !refused.has(socket))
}

/** Members of the swarm that connect to `stack` and stay. */
async function crowd(stack: Libp2pStack, count: number): Promise<Libp2pStack[]> {
  const stacks: Libp2pStack[] = []
  for (let index = 0; index < count; index += 1) {
    const member = await startStack({ listen: [], directLane: false, dhtMode: 'client' })
    closers.push(() => member.stop())
    await member.members.meet(stack.addresses[0]!, { deadlineMs: 5_000 })
    stacks.push(member)
  }
  return stacks
}

test('over CONNECTIONS_MAX, an idle connection makes room; one peer has CONNECTIONS_PER_PEER_MAX at most', async () => {
  const stack = await start()
  const greedy = await startGreedy()
  const address = multiaddr(stack.addresses[0])
  for (let count = 0; count < CONNECTIONS_PER_PEER_MAX + 2; count += 1)
    await greedy.dial(address, { force: true }).catch(() => {})
  await until('they are bounded', () => stack.node.getConnections().length === CONNECTIONS_PER_PEER_MAX)
  for (let peers = 1; peers * CONNECTIONS_PER_PEER_MAX <= CONNECTIONS_MAX; peers += 1) {
    const another = await startGreedy()
    for (let count = 0; count < CONNECTIONS_PER_PEER_MAX; count += 1)
      await another.dial(address, { force: true }).catch(() => {})
  }
  const unknownMax = CONNECTIONS_MAX - CONNECTIONS_KEPT_FOR_KNOWN
  await until('strangers leave the kept places free', () => stack.node.getConnections().length <= unknownMax)
  const began = performance.now()
  await crowd(stack, 1)
  expect(performance.now() - began).toBeLessThan(3_000)
})

test('members that fill every place do not lock a newcomer out, nor a peer that is remembered', async () => {
  const remembered: string[] = []
  const acquaintance = { hasAdvert: () => true, remembers: (peer: string) => remembered.includes(peer) }
  const slotLimits = { connectionsMax: 6, keptForKnown: 2, perPeerMax: 3, guestEveryMs: 1_000 }
  const unknownMax = slotLimits.connectionsMax - slotLimits.keptForKnown
  const stack = await startStack({ slotLimits }, silentLogger, acquaintance)
  closers.push(() => stack.stop())
  await crowd(stack, unknownMax)
  await until('they are all there', () => stack.members.list().length === unknownMax)
  const [newcomer] = await crowd(stack, 1)
  await until('the newcomer is in', () => stack.members.list().includes(newcomer!.members.self))
  expect(stack.members.list().length).toBeLessThanOrEqual(unknownMax)

  const friend = await startStack({ listen: [], directLane: false, dhtMode: 'client' })
  closers.push(() => friend.stop())
  remembered.push(friend.members.self)
  await friend.members.meet(stack.addresses[0]!, { deadlineMs: 3_000 })
  await until('the friend is in', () => stack.members.list().length === unknownMax + 1)
})

test('INBOUND_CONNECTIONS_PENDING_MAX silent connections stay at most, and lock nobody out', async () => {
  const stack = await start()
  const sockets = await openSockets(stack, INBOUND_CONNECTIONS_PENDING_MAX + 16)
  await until(
    'the first are ended',
    () => sockets.filter(({ closed }) => !closed).length <= INBOUND_CONNECTIONS_PENDING_MAX,
  )
  const began = performance.now()
  await crowd(stack, 1)
  expect(performance.now() - began).toBeLessThan(3_000)
})

test('a connection that says nothing is ended when its time for the handshake is over', async () => {
  const stack = await startStack({ timing: { handshakeMs: 300 } })
  closers.push(() => stack.stop())
  const open = await openSockets(stack, 1)
  const began = performance.now()
  await new Promise((resolve) => open[0]!.once('close', resolve))
  expect(performance.now() - began).toBeLessThan(2_500)
})

test('connections over INBOUND_CONNECTIONS_PER_SECOND_MAX from one address are refused', async () => {
  const stack = await start()
  const half = INBOUND_CONNECTIONS_PER_SECOND_MAX / 2
  for (let time = 0; time < 2; time += 1) {
    const open = await openSockets(stack, half)
    expect(open).toHaveLength(half)
    await Promise.all(open.map((socket) => once(socket.destroy(), 'close')))
  }
  expect(await openSockets(stack, 5)).toEqual([])
})

test('streams over CONNECTION_STREAMS_MAX on one connection are reset', async () => {
  const stack = await start()
  const greedy = await startGreedy()
  const protocol = '/hearth-test/held/1'
  let served = 0
  await stack.node.handle(protocol, () => void (served += 1), { maxInboundStreams: 10_000 })
  const connection = await greedy.dial(multiaddr(stack.addresses[0]))
  await until('it is accepted', () => stack.node.getConnections().length === 1)
  const opened = await Promise.allSettled(
    Array.from({ length: CONNECTION_STREAMS_MAX + 50 }, () =>
      connection.newStream(protocol, { maxOutboundStreams: 10_000 }),
    ),
  )
  const openedCount = opened.filter(({ status }) => status === 'fulfilled').length
  expect(openedCount).toBeLessThanOrEqual(CONNECTION_STREAMS_MAX)
  expect(served).toBeLessThanOrEqual(CONNECTION_STREAMS_MAX)
  expect(served).toBeGreaterThan(CONNECTION_STREAMS_MAX - 10)
})

test('no more than FOREIGN_PEERS_REMEMBERED_MAX peers of other swarms are remembered', () => {
  const node = Object.assign(new EventTarget(), { peerId: 'ours', getConnections: () => [] })
  const clock = { nowMs: () => 0, wallMs: () => 0, schedule: () => () => {} }
  const members = new Libp2pMembers(
    { node: node as unknown as HostNode, clock, log: silentLogger },
    { swarm: 'ours', ...MEMBERS_OPTIONS },
  )
  members.start()
  const connection = { status: 'open' }
  for (let index = 0; index <= FOREIGN_PEERS_REMEMBERED_MAX; index += 1) {
    const detail = { peerId: `peer${index}`, protocols: ['/hearth/theirs/lane/1'], connection }
    node.dispatchEvent(new CustomEvent('peer:identify', { detail }))
  }
  expect(members.membershipOf('peer0')).toBeUndefined()
  expect(members.membershipOf('peer1')).toEqual({ kind: 'foreign', swarm: 'theirs' })
  expect(members.membershipOf(`peer${FOREIGN_PEERS_REMEMBERED_MAX}`)).toBeDefined()
  members.stop()
})
