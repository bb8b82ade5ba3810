// Bulk streams over TLS sockets of their own: who gets one, who does not, and what a stranger can do.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { type TLSSocket, connect } from 'node:tls'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  DIRECT_OFFERS_MAX,
  DIRECT_REFUSALS_REMEMBERED_MAX,
  DIRECT_SOCKETS_MAX,
  STREAMS_PER_PROTOCOL_AND_PEER_MAX,
} from '../../../src/base/limits.ts'
import { type Logger, silentLogger } from '../../../src/base/log/logger.ts'
import { encodeMessage } from '../../../src/base/stream/message-codec.ts'
import type { MessageStream } from '../../../src/base/stream/message-stream.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import {
  type DirectAnswer,
  DIRECT_PROTOCOL,
  directAnswerSchema,
  directRequestSchema,
} from '../../../src/node/direct/direct-lane-messages.ts'
import { DirectListener } from '../../../src/node/direct/direct-listener.ts'
import { DirectNetwork } from '../../../src/node/direct/direct-network.ts'
import { connectDirectly } from '../../../src/node/direct/direct-socket.ts'
import { Libp2pNetwork } from '../../../src/node/libp2p/network.ts'
import type { Libp2pStack } from '../../../src/node/network-stack.ts'
import { selfSignedCertificate } from '../../../src/node/direct/self-signed-certificate.ts'
import type { SocketStream } from '../../../src/node/direct/socket-stream.ts'
import { startStack, TEST_SWARM, until } from '../../../testing/libp2p-swarm.ts'

const WAIT = { deadlineMs: 10_000 }
const PROTOCOL = 'bulk-test/1'
type Offer = Extract<DirectAnswer, { type: 'offer' }>

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function stackWith(directLane: boolean, log?: Logger): Promise<Libp2pStack> {
  const stack = await startStack({ directLane }, log)
  closers.push(() => stack.stop())
  return stack
}

/** Keeps what is logged at `info`. */
function noted(): { log: Logger; reasons: string[] } {
  const reasons: string[] = []
  const log: Logger = Object.assign(Object.create(silentLogger) as Logger, {
    info: (fields: { reason?: string }) => void reasons.push(fields.reason ?? ''),
  })
  return { log, reasons }
}

/** Sends back every byte that comes after a message that says how many do. */
async function serveEcho(stack: Libp2pStack): Promise<void> {
  await stack.network.handle(PROTOCOL, async (stream) => {
    for (;;) {
      const bytes = await stream.receive(z.number(), WAIT)
      if (bytes === undefined) return
      const buffer = new Uint8Array(bytes)
      await stream.receiveInto(buffer, WAIT, () => {})
      await stream.send(bytes, WAIT)
      await stream.sendBytes(buffer, WAIT)
    }
  })
}

async function echo(stream: MessageStream, bytes: Uint8Array): Promise<Uint8Array> {
  const sending = stream.send(bytes.byteLength, WAIT).then(() => stream.sendBytes(bytes, WAIT))
  sending.catch(() => {})
  const length = await stream.receive(z.number(), WAIT)
  const back = new Uint8Array(length ?? 0)
  await stream.receiveInto(back, WAIT, () => {})
  await sending
  return back
}

const bytesOf = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_value, index) => (index * 7 + (index >> 8)) & 0xff)

const bulkConnections = (stack: Libp2pStack): number =>
  stack.node.getConnections().filter((connection) => stack.lanes.isBulk(connection)).length

async function pairOf(near: Libp2pStack, far: Libp2pStack): Promise<MessageStream> {
  await serveEcho(far)
  await near.members.meet(far.addresses[0] ?? '', WAIT)
  return await near.network.open(far.members.self, PROTOCOL, { lane: 'bulk', ...WAIT })
}

class CountingNetwork extends Libp2pNetwork {
  /** How often a direct lane was asked for. */
  asked = 0

  override async open(...args: Parameters<Libp2pNetwork['open']>): Promise<MessageStream> {
    if (args[1] === DIRECT_PROTOCOL) this.asked += 1
    return await super.open(...args)
  }
}

describe('a bulk stream', () => {
  it('goes over a socket of its own, whole, both ways, and ends one side at a time', async () => {
    const [near, far] = [await stackWith(true), await stackWith(true)]
    const stream = await pairOf(near, far)
    for (const length of [0, 1, 16_384, 262_144, 1_048_576, 3_000_001]) {
      expect(Buffer.compare(await echo(stream, bytesOf(length)), bytesOf(length))).toBe(0)
    }
    expect([bulkConnections(near), bulkConnections(far)]).toEqual([0, 0])
    await stream.close(WAIT)
    expect(await stream.receive(z.number(), WAIT)).toBe(undefined)
    await until('the stream is over', () => stream.isClosed)
  })

  it('lets the other way work too: who listens can dial who dialled', async () => {
    const [near, far] = [await stackWith(true), await stackWith(true)]
    await pairOf(near, far)
    await serveEcho(near)
    const stream = await far.network.open(near.members.self, PROTOCOL, { lane: 'bulk', ...WAIT })
    expect(await echo(stream, bytesOf(100))).toEqual(bytesOf(100))
    expect(bulkConnections(far)).toBe(0)
  })

  it.each([
    ['the other has it off', true, false],
    ['we have it off', false, true],
  ])('goes over libp2p when %s', async (_when, nearHas, farHas) => {
    const { log, reasons } = noted()
    const [near, far] = [await stackWith(nearHas, log), await stackWith(farHas)]
    const stream = await pairOf(near, far)
    expect(await echo(stream, bytesOf(300_000))).toEqual(bytesOf(300_000))
    expect(bulkConnections(near)).toBe(1)
    if (nearHas) expect(reasons).toContain('it does not offer any')
  })

  it('goes over libp2p when nothing answers at the address, and asks only once', async () => {
    const { log, reasons } = noted()
    const [near, far] = [await stackWith(true, log), await stackWith(true)]
    await serveEcho(far)
    await near.members.meet(far.addresses[0] ?? '', WAIT)
    const network = new CountingNetwork(
      { node: near.node, members: near.members, lanes: near.lanes, clock: systemClock, log },
      { swarm: TEST_SWARM, closeDeadlineMs: 1_000 },
    )
    const hostsOf = (): Promise<string[]> => Promise.resolve(['127.7.7.7'])
    const unreachable = new DirectNetwork({ network, hostsOf, clock: systemClock, log }, { host: undefined })
    for (let times = 0; times < 2; times += 1) {
      const stream = await unreachable.open(far.members.self, PROTOCOL, { lane: 'bulk', ...WAIT })
      expect(await echo(stream, bytesOf(10))).toEqual(bytesOf(10))
    }
    expect(network.asked).toBe(1)
    expect(reasons.join()).toMatch(/ECONNREFUSED/)
  })

  it('is refused beyond as many as one peer may have, on whatever they come', async () => {
    const [near, far] = [await stackWith(true), await stackWith(true)]
    const streams = [await pairOf(near, far)]
    for (let count = 1; count < STREAMS_PER_PROTOCOL_AND_PEER_MAX; count += 1) {
      streams.push(await near.network.open(far.members.self, PROTOCOL, { lane: 'bulk', ...WAIT }))
    }
    for (const stream of streams) expect(await echo(stream, bytesOf(5))).toEqual(bytesOf(5))
    const oneMore = await near.network.open(far.members.self, PROTOCOL, { lane: 'bulk', ...WAIT })
    await expect(echo(oneMore, bytesOf(5))).rejects.toMatchObject({ code: 'stream-closed' })
  })

  it('ends when its peer is stopped', async () => {
    const [near, far] = [await stackWith(true), await startStack()]
    const stream = await pairOf(near, far)
    await echo(stream, bytesOf(5))
    const closed = new Promise((resolve) => stream.onClose(resolve))
    await far.stop()
    await stream.receive(z.number(), WAIT).catch(() => {})
    stream.abort(new Error('over'))
    await closed
  })
})

describe('a listener of the direct lane', () => {
  let served: { protocol: string; peer: string; stream: SocketStream }[] = []
  let listener: DirectListener
  const signal = new AbortController().signal

  beforeAll(async () => {
    listener = new DirectListener(
      {
        clock: systemClock,
        log: silentLogger,
        serve: (protocol, peer, stream) => served.push({ protocol, peer, stream }),
      },
      { host: '127.0.0.1', offerMs: 60_000, proofMs: 300 },
    )
    await listener.start()
  })
  afterAll(() => listener.stop())
  afterEach(() => {
    for (const { stream } of served) stream.abort(new Error('over'))
    served = []
  })

  function offerTo(peer: string): Offer {
    const answer = listener.offer(peer, PROTOCOL)
    if (answer.type !== 'offer') throw new Error(answer.reason)
    return answer
  }

  async function rawSocket(offer: Offer): Promise<TLSSocket> {
    const socket = connect({ host: '127.0.0.1', port: offer.port, rejectUnauthorized: false })
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
    socket.on('error', () => {})
    return socket
  }
  const ended = (socket: { once: (event: 'close', then: () => void) => unknown }): Promise<void> =>
    new Promise((resolve) => void socket.once('close', resolve))

  it('knows who comes by the token, which works once', async () => {
    const offer = offerTo('peer A')
    const stream = await connectDirectly('127.0.0.1', offer, signal)
    expect(served).toMatchObject([{ protocol: PROTOCOL, peer: 'peer A' }])
    await expect(connectDirectly('127.0.0.1', offer, signal)).rejects.toThrow('did not welcome our token')
    stream.abort(new Error('over'))
  })

  it('is not trusted by a peer that expects another certificate', async () => {
    const offer = { ...offerTo('peer A'), fingerprint: selfSignedCertificate().fingerprint }
    await expect(connectDirectly('127.0.0.1', offer, signal)).rejects.toThrow('its certificate differs')
    expect(served).toEqual([])
  })

  it('ends a socket with a token that was never offered, or with none in time', async () => {
    const offer = offerTo('peer A')
    const liar = await rawSocket(offer)
    liar.write(new Uint8Array(32))
    await ended(liar)
    await ended(await rawSocket(offer))
    expect(served).toEqual([])
  })

  it('survives any bytes, in the clear and inside TLS', async () => {
    const offer = offerTo('peer B')
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.boolean(),
        async (bytes, isEncrypted) => {
          const socket = isEncrypted ? await rawSocket(offer) : connectTcp(offer.port, '127.0.0.1')
          socket.on('error', () => {}).resume()
          socket.end(bytes)
          await ended(socket)
        },
      ),
      { numRuns: 20 },
    )
    expect(served).toEqual([])
    expect(await connectDirectly('127.0.0.1', offer, signal)).toBeDefined()
  })

  it('makes a bounded number of offers, to one peer and to all', () => {
    const answers = Array.from({ length: DIRECT_OFFERS_MAX + 1 }, (_value, index) =>
      listener.offer(`peer ${index}`, PROTOCOL),
    )
    expect(answers.at(-1)).toEqual({ type: 'refusal', reason: 'too many offers are open' })
  })

  it('has a bounded number of sockets', async () => {
    const few = new DirectListener(
      { clock: systemClock, log: silentLogger, serve: () => {} },
      { host: '127.0.0.1', offerMs: 60_000, proofMs: 60_000 },
    )
    await few.start()
    const offer = few.offer('peer', PROTOCOL) as Offer
    const sockets = Array.from({ length: DIRECT_SOCKETS_MAX + 1 }, () =>
      connectTcp(offer.port, '127.0.0.1')
        .on('error', () => {})
        .resume(),
    )
    await Promise.race(sockets.map(ended))
    const isOpen = sockets.filter(({ closed }) => !closed).length
    expect(isOpen).toBe(DIRECT_SOCKETS_MAX)
    await few.stop()
  })
})

describe('messages of the direct lane', () => {
  it('are refused when they are of another shape', () => {
    const offer = { type: 'offer', port: 1, fingerprint: new Uint8Array(32), token: new Uint8Array(32) }
    expect(directAnswerSchema.safeParse(offer).success).toBe(true)
    for (const change of [{ port: 0 }, { port: 65_536 }, { token: new Uint8Array(31) }, { more: 1 }]) {
      expect(directAnswerSchema.safeParse({ ...offer, ...change }).success).toBe(false)
    }
  })

  it('are as the vectors of the protocol page show', () => {
    const page = readFileSync(new URL('../../../docs/protocol/direct.md', import.meta.url), 'utf8')
    const [, block = ''] = /```vectors\n([\s\S]*?)```/.exec(page) ?? []
    const vectors = [...block.matchAll(/^(\{.*)\n([0-9a-f]+)$/gm)]
    expect(vectors).toHaveLength(3)
    for (const [, json = '', hex = ''] of vectors) {
      const message = JSON.parse(json, (_key, value: unknown) => {
        const { hex } = (value ?? {}) as { hex?: unknown }
        return typeof hex === 'string' ? new Uint8Array(Buffer.from(hex, 'hex')) : value
      }) as { type: string }
      expect(Buffer.from(encodeMessage(message)).toString('hex')).toBe(hex)
      const schema = message.type === 'request' ? directRequestSchema : directAnswerSchema
      expect(schema.parse(message)).toEqual(message)
    }
  })

  it('name a certificate that is its own', () => {
    const { certificate, fingerprint } = selfSignedCertificate()
    const read = new X509Certificate(certificate)
    expect(read.verify(read.publicKey)).toBe(true)
    expect(read.fingerprint256.replaceAll(':', '').toLowerCase()).toBe(
      Buffer.from(fingerprint).toString('hex'),
    )
  })
})

it('a peer that cannot listen for direct lanes runs without', async () => {
  const stack = await stackWith(false)
  const network = new Libp2pNetwork(
    { node: stack.node, members: stack.members, lanes: stack.lanes, clock: systemClock, log: silentLogger },
    { swarm: TEST_SWARM, closeDeadlineMs: 1_000 },
  )
  const hostsOf = (): Promise<string[]> => Promise.resolve([])
  const direct = new DirectNetwork(
    { network, hostsOf, clock: systemClock, log: silentLogger },
    { host: '203.0.113.7' },
  )
  await direct.start()
  expect(stack.node.getProtocols().some((protocol) => protocol.endsWith(DIRECT_PROTOCOL))).toBe(false)
  await direct.stop()
})

it('peers without a direct lane are remembered up to a bound', async () => {
  const log = silentLogger
  const refusing = {
    self: 'me',
    open: (peer: string, protocol: string) =>
      protocol === DIRECT_PROTOCOL
        ? Promise.reject(new Error('nobody there'))
        : Promise.resolve(`stream to ${peer}` as unknown as MessageStream),
  } as unknown as Libp2pNetwork
  let looked = 0
  const hostsOf = (): Promise<string[]> => Promise.resolve(((looked += 1), ['127.0.0.1']))
  const network = new DirectNetwork(
    { network: refusing, hostsOf, clock: systemClock, log },
    { host: undefined },
  )
  const open = (index: number): Promise<MessageStream> =>
    network.open(`peer ${index}`, PROTOCOL, { lane: 'bulk', ...WAIT })
  for (let index = 0; index <= DIRECT_REFUSALS_REMEMBERED_MAX; index += 1) await open(index)
  expect(looked).toBe(DIRECT_REFUSALS_REMEMBERED_MAX + 1)
  await open(DIRECT_REFUSALS_REMEMBERED_MAX)
  expect(looked).toBe(DIRECT_REFUSALS_REMEMBERED_MAX + 1)
  await open(0)
  expect(looked).toBe(DIRECT_REFUSALS_REMEMBERED_MAX + 2)
})
