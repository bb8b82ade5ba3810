// A swarm of real libp2p peers in this process, on 127.0.0.1 with ports of the system's choosing.
import { seededRandom } from '../src/base/random.ts'
import { silentLogger } from '../src/base/log/logger.ts'
import type { Logger } from '../src/base/log/logger.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { AdvertExchange, ADVERT_EXCHANGE_OPTIONS } from '../src/dht/advert/advert-exchange.ts'
import type { AdvertExchangeOptions } from '../src/dht/advert/advert-exchange.ts'
import type { AdvertBody } from '../src/dht/advert/advert.ts'
import { ContentRouting, CONTENT_ROUTING_OPTIONS } from '../src/dht/content-routing.ts'
import { Departures } from '../src/dht/departures.ts'
import { Join, JOIN_OPTIONS } from '../src/dht/join/join.ts'
import type { JoinOptions } from '../src/dht/join/join.ts'
import { Newcomers } from '../src/dht/join/newcomers.ts'
import type { RememberedPeer } from '../src/dht/join/remembered-peers.ts'
import { temporaryIdentity } from '../src/node/home/identity.ts'
import type { Identity } from '../src/node/home/identity.ts'
import type { Acquaintance } from '../src/node/libp2p/connection-door.ts'
import { Libp2pStack } from '../src/node/network-stack.ts'
import type { StackOptions } from '../src/node/network-stack.ts'

export interface TestPeerOptions {
  swarm?: string
  bootstrap?: readonly string[]
  remembered?: readonly RememberedPeer[]
  identity?: Identity
  /** Listens nowhere and is a client of the DHT, like a peer that only submits. */
  submitOnly?: boolean
  stack?: Partial<StackOptions>
  join?: Partial<JoinOptions>
  adverts?: Partial<AdvertExchangeOptions>
  describe?: () => AdvertBody
  log?: Logger
}

/** One peer with all that dht/ and the network are made of, wired as node/ wires it. */
export interface TestPeer {
  id: string
  /** Its first address, with its id. */
  address: string
  stack: Libp2pStack
  join: Join
  routing: ContentRouting
  adverts: AdvertExchange
  saved: RememberedPeer[][]
  stop(): Promise<void>
}

export const TEST_SWARM = 'test-swarm'

export function testBody(change: Partial<AdvertBody> = {}): AdvertBody {
  return {
    agent: 'hearth/test',
    contexts: [],
    device: { kind: 'cpu', name: 'test', threads: 2, memoryBytes: 1024 },
    slots: 4,
    serving: { accepts: true },
    ...change,
  }
}

/** A libp2p stack alone, started. */
export async function startStack(
  options: Partial<StackOptions> = {},
  log: Logger = silentLogger,
  acquaintance?: Acquaintance,
): Promise<Libp2pStack> {
  const stack = await Libp2pStack.create(
    {
      identity: await temporaryIdentity(),
      clock: systemClock,
      log,
      ...(acquaintance === undefined ? {} : { acquaintance }),
    },
    { swarm: TEST_SWARM, listen: ['/ip4/127.0.0.1/tcp/0'], mdns: false, ...options },
  )
  await stack.start()
  return stack
}

let seeds = 1

export async function startPeer(options: TestPeerOptions = {}): Promise<TestPeer> {
  const log = options.log ?? silentLogger
  const clock = systemClock
  const random = seededRandom((seeds += 1))
  const identity = options.identity ?? (await temporaryIdentity())
  const submitOnly = options.submitOnly === true
  const stack = await Libp2pStack.create(
    { identity, clock, log },
    {
      swarm: options.swarm ?? TEST_SWARM,
      listen: submitOnly ? [] : ['/ip4/127.0.0.1/tcp/0'],
      dhtMode: submitOnly ? 'client' : 'server',
      mdns: false,
      ...options.stack,
    },
  )
  const { members, network, kademlia } = stack
  const saved: RememberedPeer[][] = []
  const routing = new ContentRouting(
    { kademlia, self: members.self, clock, log },
    { ...CONTENT_ROUTING_OPTIONS, repairEveryMs: 500 },
  )
  const adverts = new AdvertExchange(
    { network, members, clock, log, key: identity, describe: options.describe ?? testBody },
    { ...ADVERT_EXCHANGE_OPTIONS, ...options.adverts },
  )
  const join = new Join(
    { kademlia, members, clock, random, log, save: async (peers) => void saved.push([...peers]) },
    {
      ...JOIN_OPTIONS,
      bootstrap: options.bootstrap ?? [],
      remembered: options.remembered ?? [],
      ...options.join,
    },
  )
  const departures = new Departures({
    members,
    clock,
    random,
    log,
    onGone: (peer) => {
      adverts.board.remove(peer)
      void kademlia.evict(peer).then(() => join.lookNow())
    },
  })
  const newcomers = new Newcomers({
    members,
    clock,
    random,
    log,
    peersOf: (peer, signal) => adverts.peersOf(peer, signal),
  })
  join.onJoined(() => void routing.announceAgain())
  await stack.start()
  await adverts.start()
  routing.start()
  departures.start()
  join.start()
  if (submitOnly) newcomers.start()
  return {
    id: members.self,
    address: stack.addresses[0] ?? '',
    stack,
    join,
    routing,
    adverts,
    saved,
    async stop() {
      newcomers.stop()
      departures.stop()
      routing.stop()
      await join.stop()
      await adverts.stop()
      await stack.stop()
    },
  }
}

/** Polls until `isTrue`; throws with `what` after `deadlineMs`. For what no event tells. */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  deadlineMs = 10_000,
): Promise<number> {
  const startedMs = performance.now()
  while (!(await isTrue())) {
    if (performance.now() - startedMs > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return performance.now() - startedMs
}
