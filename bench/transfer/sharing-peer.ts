// Shared code of the processes of the transfer benches: a peer with a store and no engine, controlled by
// lines of JSON.
import { createInterface } from 'node:readline'
import { silentLogger, type Logger } from '../../src/base/log/logger.ts'
import type { Network } from '../../src/base/stream/network.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import { ContextSharing } from '../../src/context-sharing/context-sharing.ts'
import { ContextStore } from '../../src/context-sharing/store/context-store.ts'
import type { DecisionSink } from '../../src/context-sharing/history/decisions.ts'
import type { UploadRate } from '../../src/context-sharing/upload/upload-gate.ts'
import { temporaryIdentity } from '../../src/node/home/identity.ts'
import { Libp2pStack } from '../../src/node/network-stack.ts'
import { tunePeerHeap } from '../../src/node/peer-heap.ts'

export const BENCH_SWARM = 'bench'

export interface SharingPeerOptions {
  /** The folder of its store. */
  store: string
  directLane: boolean
  /** Bytes per second that it may send; no cap by default. */
  uploadRate?: UploadRate
  /** The address to listen on; this machine's own by default. */
  host?: string
  log?: Logger
  /** Is told what the peer decides. */
  decisions?: DecisionSink
  /** Wraps the network for one peer. */
  wrap?: (network: Network) => Network
}

export interface SharingPeer {
  id: string
  stack: Libp2pStack
  store: ContextStore
  sharing: ContextSharing
}

/** A peer that takes every other that it is connected to for a possible holder. */
export async function startSharingPeer(options: SharingPeerOptions): Promise<SharingPeer> {
  // As `hearth up` does.
  tunePeerHeap()
  const { log = silentLogger, host = '127.0.0.1', directLane, decisions = { note() {} } } = options
  const components = { clock: systemClock, random: systemRandom, log }
  const store = new ContextStore(
    { clock: systemClock, log },
    { folder: options.store, keepFree: { bytes: 0 } },
  )
  await store.open()
  const stack = await Libp2pStack.create(
    { ...components, identity: await temporaryIdentity() },
    { swarm: BENCH_SWARM, listen: [`/ip4/${host}/tcp/0`], mdns: false, directLane },
  )
  const findHolders = (): Promise<string[]> => Promise.resolve(stack.members.list())
  const sharing = new ContextSharing(
    {
      ...components,
      network: options.wrap?.(stack.network) ?? stack.network,
      store,
      findHolders,
      decisions,
    },
    { uploadRate: options.uploadRate ?? 'unlimited' },
  )
  await sharing.start()
  await stack.start()
  return { id: stack.members.self, stack, store, sharing }
}

/** Answers each line `{"order": NAME, …}` on stdin with one line on stdout. */
export function listenForOrders(orders: Record<string, (order: never) => Promise<object>>): void {
  createInterface({ input: process.stdin }).on('line', (line) => {
    const order = JSON.parse(line) as { order: string }
    void orders[order.order]?.(order as never).then((answer) => console.log(JSON.stringify(answer)))
  })
}
