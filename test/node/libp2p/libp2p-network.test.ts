import { createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { STREAMS_PER_PROTOCOL_AND_PEER_MAX } from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import type { MessageStream } from '../../../src/base/stream/message-stream.ts'
import type { Lane } from '../../../src/base/stream/network.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { temporaryIdentity } from '../../../src/node/home/identity.ts'
import { listensBeyondLoopback, mapPeerInfo } from '../../../src/node/libp2p/addresses.ts'
import { discoverSwarm } from '../../../src/node/libp2p/discover.ts'
import type { Libp2pStack, StackOptions } from '../../../src/node/network-stack.ts'
import { startStack, TEST_SWARM, until } from '../../../testing/libp2p-swarm.ts'

const WAIT = { deadlineMs: 5_000 }
const rejections: unknown[] = []
const onRejection = (reason: unknown): void => void rejections.push(reason)
let closers: (() => Promise<void> | void)[] = []
beforeEach(() => {
  process.on('unhandledRejection', onRejection)
})
afterEach(async () => {
  for (const close of closers.toReversed()) await close()
  closers = []
  await new Promise((resolve) => setTimeout(resolve, 5))
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
})

async function start(options: Partial<StackOptions> = {}, log = silentLogger): Promise<Libp2pStack> {
  const stack = await startStack({ directLane: false, ...options }, log)
  closers.push(() => stack.stop())
  return stack
}

/** Two stacks that have met, with an echo at the second. */
async function startPair(
  options: Partial<StackOptions> = {},
): Promise<{ near: Libp2pStack; far: Libp2pStack }> {
  const [near, far] = await Promise.all([start(options), start(options)])
  await far.network.handle('echo/1', async (stream) => {
    await stream.sendBytes(await stream.receiveBytes(4, WAIT), WAIT)
  })
  await near.members.meet(far.addresses[0]!, WAIT)
  return { near, far }
}

async function echo(from: Libp2pStack, to: string, lane: Lane = 'control'): Promise<void> {
  const stream = await from.network.open(to, 'echo/1', { lane, ...WAIT })
  await stream.sendBytes(new Uint8Array([1, 2, 3, 4]), WAIT)
  expect(await stream.receiveBytes(4, WAIT)).toEqual(new Uint8Array([1, 2, 3, 4]))
  await stream.close(WAIT)
}

/** A server that accepts and then keeps silent. */
async function startSilentServer(): Promise<string> {
  const server: Server = createServer(() => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => void server.close())
  return `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`
}

describe('a protocol', () => {
  test('is answered by its handler, until it is taken back', async () => {
    const { near, far } = await startPair()
    const takeBack = await far.network.handle('other/1', async (stream) => {
      await stream.sendBytes(new Uint8Array([9]), WAIT)
    })
    const stream = await near.network.open(far.members.self, 'other/1', { lane: 'control', ...WAIT })
    expect(await stream.receiveBytes(1, WAIT)).toEqual(new Uint8Array([9]))
    await takeBack()
    await expect(
      near.network.open(far.members.self, 'other/1', { lane: 'control', ...WAIT }),
    ).rejects.toMatchObject({ code: 'peer-unreachable', data: { unsupported: true } })
  })

  test('whose handler throws resets the stream and is logged; nothing is left unhandled', async () => {
    const logged: object[] = []
    const note = (fields: object): void => void logged.push(fields)
    const far = await start({}, { ...silentLogger, info: note, error: note })
    const near = await start()
    await near.members.meet(far.addresses[0]!, WAIT)
    await far.network.handle('throws/1', async () => {
      throw new TypeError('a defect')
    })
    await far.network.handle('throws/2', () => {
      throw new TypeError('at once')
    })
    for (const protocol of ['throws/1', 'throws/2'] as const) {
      const stream = await near.network.open(far.members.self, protocol, { lane: 'control', ...WAIT })
      await expect(stream.receiveBytes(1, WAIT)).rejects.toMatchObject({ code: 'stream-closed' })
    }
    expect(logged).toContainEqual(expect.objectContaining({ protocol: 'throws/1', error: 'a defect' }))
    expect(logged).toContainEqual(expect.objectContaining({ protocol: 'throws/2', error: 'at once' }))
  })

  test('is not served to one peer on more than STREAMS_PER_PROTOCOL_AND_PEER_MAX streams at once', async () => {
    const { near, far } = await startPair()
    const release = Promise.withResolvers<void>()
    await far.network.handle('held/1', async (stream) => {
      await stream.sendBytes(new Uint8Array([1]), WAIT)
      await release.promise
    })
    const open = async (lane: Lane): Promise<MessageStream> => {
      const stream = await near.network.open(far.members.self, 'held/1', { lane, ...WAIT })
      await stream.receiveBytes(1, WAIT)
      return stream
    }
    const held: MessageStream[] = []
    // On both lanes: the bound is per peer, not per connection.
    for (let count = 0; count < STREAMS_PER_PROTOCOL_AND_PEER_MAX; count += 1)
      held.push(await open(count % 2 === 0 ? 'control' : 'bulk'))
    await expect(open('control')).rejects.toMatchObject({ code: 'stream-closed' })
    await expect(open('bulk')).rejects.toMatchObject({ code: 'stream-closed' })
    held[0]!.abort(new Error('one less'))
    await until(
      'one may be opened again',
      async () =>
        await open('control').then(
          () => true,
          () => false,
        ),
    )
    release.resolve()
  })

  test('whose peer does not end its side has the stream taken away after a while', async () => {
    const far = await start({ closeDeadlineMs: 200 })
    const near = await start()
    await near.members.meet(far.addresses[0]!, WAIT)
    const over = Promise.withResolvers<void>()
    await far.network.handle('brief/1', async (stream) => stream.onClose(() => over.resolve()))
    await near.network.open(far.members.self, 'brief/1', { lane: 'control', ...WAIT })
    await over.promise
  })
})

describe('opening a stream', () => {
  test('to a peer that is gone is peer-unreachable', async () => {
    const { near, far } = await startPair()
    await far.stop()
    closers = closers.filter((_, index) => index !== 1)
    await expect(
      near.network.open(far.members.self, 'echo/1', { lane: 'control', ...WAIT }),
    ).rejects.toMatchObject({
      code: 'peer-unreachable',
    })
    await expect(near.network.open('nonsense', 'echo/1', { lane: 'control', ...WAIT })).rejects.toMatchObject(
      {
        code: 'peer-unreachable',
      },
    )
  })

  test('to a peer that accepts and keeps silent is deadline-passed, in that time', async () => {
    const near = await start()
    const address = await startSilentServer()
    const peer = (await start()).members.self
    await near.kademlia.learn({ peer, addresses: [address] })
    const startedMs = performance.now()
    await expect(
      near.network.open(peer, 'echo/1', { lane: 'control', deadlineMs: 300 }),
    ).rejects.toMatchObject({
      code: 'deadline-passed',
      message: expect.stringContaining('echo/1'),
    })
    expect(performance.now() - startedMs).toBeLessThan(1_500)
  })

  test('is given up with the reason of the caller', async () => {
    const { near, far } = await startPair()
    const controller = new AbortController()
    controller.abort(new Error('not any more'))
    await expect(
      near.network.open(far.members.self, 'echo/1', { lane: 'control', ...WAIT, signal: controller.signal }),
    ).rejects.toThrow('not any more')
  })
})

describe('lanes', () => {
  test('bulk has one connection of its own, used again, and by the other side too', async () => {
    const { near, far } = await startPair()
    await near.network.handle('echo/1', async (stream) => {
      await stream.sendBytes(await stream.receiveBytes(4, WAIT), WAIT)
    })
    await echo(near, far.members.self)
    expect(near.node.getConnections()).toHaveLength(1)
    await Promise.all([1, 2, 3].map(() => echo(near, far.members.self, 'bulk')))
    await echo(far, near.members.self, 'bulk')
    expect(near.node.getConnections()).toHaveLength(2)
    const bulkAt = (stack: Libp2pStack): number =>
      stack.node.getConnections().filter((one) => stack.lanes.isBulk(one)).length
    expect([bulkAt(near), bulkAt(far)]).toEqual([1, 1])

    const held: MessageStream[] = []
    for (const lane of ['control', 'bulk'] as const)
      held.push(await near.network.open(far.members.self, 'echo/1', { lane, ...WAIT }))
    const bulkOf = (isBulk: boolean): number =>
      near.node
        .getConnections()
        .filter((one) => near.lanes.isBulk(one) === isBulk)
        .flatMap((one) => one.streams)
        .filter((stream) => stream.protocol.endsWith('/echo/1')).length
    expect([bulkOf(false), bulkOf(true)]).toEqual([1, 1])
    for (const stream of held) stream.abort(new Error('done'))
  })

  test('a bulk connection that carries nothing is dropped, and control never falls back on one', async () => {
    const { near, far } = await startPair({ bulkIdleMs: 200 })
    await echo(near, far.members.self, 'bulk')
    const control = near.node.getConnections().find((one) => !near.lanes.isBulk(one))
    await control?.close()
    await echo(near, far.members.self)
    expect(near.node.getConnections().some((one) => !near.lanes.isBulk(one))).toBe(true)
    await until('the bulk connection is gone', () => near.node.getConnections().length === 1)
    await echo(near, far.members.self, 'bulk')
  })

  test('a peer that cannot be dialled is served bulk on the connection that it made', async () => {
    const near = await start()
    const client = await start({ listen: [], dhtMode: 'client' })
    await client.network.handle('echo/1', async (stream) => {
      await stream.sendBytes(await stream.receiveBytes(4, WAIT), WAIT)
    })
    await client.members.meet(near.addresses[0]!, WAIT)
    await until('near knows the client', () => near.members.list().length === 1)
    await echo(near, client.members.self, 'bulk')
    expect(near.node.getConnections()).toHaveLength(1)
  })
})

describe('swarms', () => {
  test('a peer of another swarm is refused on both sides, and whoever dialled is told why', async () => {
    const [near, far] = await Promise.all([
      start({ foreignGraceMs: 300 }),
      start({ swarm: 'elsewhere', foreignGraceMs: 300 }),
    ])
    await expect(near.members.meet(far.addresses[0]!, WAIT)).rejects.toMatchObject({
      code: 'swarm-mismatch',
      data: { ours: TEST_SWARM, theirs: 'elsewhere' },
    })
    await expect(
      near.network.open(far.members.self, 'echo/1', { lane: 'control', ...WAIT }),
    ).rejects.toMatchObject({
      code: 'swarm-mismatch',
    })
    await until(
      'the connection is closed',
      () => near.node.getConnections().length + far.node.getConnections().length === 0,
    )
    expect([near.members.list(), far.members.list()]).toEqual([[], []])
    expect([near.kademlia.tableSize, far.kademlia.tableSize]).toEqual([0, 0])
  })

  test('the swarm of a peer can be asked with its address alone', async () => {
    const far = await start({ swarm: 'a1b2c3' })
    const bare = far.addresses[0]!.replace(/\/p2p\/.*$/, '')
    expect(await discoverSwarm(far.addresses[0]!, { clock: systemClock, ...WAIT })).toBe('a1b2c3')
    expect(await discoverSwarm(bare, { clock: systemClock, ...WAIT })).toBe('a1b2c3')
  })

  test('and the answer is clear when nobody, something silent, or something else is there', async () => {
    const silent = await startSilentServer()
    const stranger = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { identify: identify() },
    })
    closers.push(async () => stranger.stop())
    const ask = (address: string, deadlineMs = 5_000): Promise<string> =>
      discoverSwarm(address, { clock: systemClock, deadlineMs })
    await expect(ask('/ip4/127.0.0.1/tcp/1')).rejects.toMatchObject({ code: 'peer-unreachable' })
    await expect(ask(silent, 300)).rejects.toMatchObject({ code: 'deadline-passed' })
    await expect(ask(stranger.getMultiaddrs()[0]!.toString())).rejects.toMatchObject({
      code: 'swarm-mismatch',
    })
    await expect(ask('127.0.0.1:4001')).rejects.toMatchObject({ code: 'config-invalid' })
  })

  test('a connection whose peer never says who it is, is closed', async () => {
    const mute = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
    })
    closers.push(async () => mute.stop())
    const near = await start({ identifyDeadlineMs: 200 })
    await mute.dial(multiaddr(near.addresses[0]))
    await until('the mute peer is connected', () => near.node.getConnections().length === 1)
    await until('the mute peer is gone', () => near.node.getConnections().length === 0)
    expect(near.members.list()).toEqual([])
  })
})

describe('addresses', () => {
  test('loopback is told to others only when it is all there is', async () => {
    const id = (await temporaryIdentity()).publicKey
    const peer = { id: (await start()).node.peerId, multiaddrs: [] as ReturnType<typeof multiaddr>[] }
    expect(id.type).toBe('Ed25519')
    const mapped = (...addresses: string[]): string[] =>
      mapPeerInfo({ ...peer, multiaddrs: addresses.map((one) => multiaddr(one)) }).multiaddrs.map(String)
    expect(
      mapped('/ip4/127.0.0.1/tcp/1', '/ip4/192.168.1.7/tcp/1', '/ip6/::1/tcp/1', '/dns4/localhost/tcp/1'),
    ).toEqual(['/ip4/192.168.1.7/tcp/1'])
    expect(mapped('/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1')).toHaveLength(2)
  })

  test('mDNS needs an address beyond loopback', () => {
    expect(listensBeyondLoopback(['/ip4/127.0.0.1/tcp/0', '/ip6/::1/tcp/0'])).toBe(false)
    expect(listensBeyondLoopback(['/ip4/127.0.0.1/tcp/0', '/ip4/0.0.0.0/tcp/0'])).toBe(true)
    expect(listensBeyondLoopback([])).toBe(false)
  })

  test('a port in use and a swarm id that cannot be one are config-invalid', async () => {
    const near = await start()
    const taken = near.addresses[0]!.replace(/\/p2p\/.*$/, '')
    await expect(startStack({ listen: [taken] })).rejects.toMatchObject({ code: 'config-invalid' })
    await expect(startStack({ swarm: 'a/b' })).rejects.toMatchObject({ code: 'config-invalid' })
    await expect(startStack({ swarm: '' })).rejects.toMatchObject({ code: 'config-invalid' })
  })
})
