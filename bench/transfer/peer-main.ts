// One peer of bench/swarm in a separate process, controlled by lines of JSON.
// Argument: its options as JSON.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { systemRandom } from '../../src/base/system-random.ts'
import { type Fault, withFaults } from '../../testing/faulty-network.ts'
import { listenForOrders, startSharingPeer } from './sharing-peer.ts'

interface PeerOptions {
  store: string
  host: string
  directLane: boolean
  uploadRate?: number
  fault?: Fault
}

const { fault, ...options } = JSON.parse(process.argv[2] ?? '') as PeerOptions
/** Bytes on the wire for a byte of a context: headers, TLS, control messages. */
const WIRE_FACTOR = 1.02
const LOOK_EVERY_MS = 5
const sent = { bytes: 0 }
/** Whom it banned, and why. */
const banned: { peer: string; words: string }[] = []

const peer = await startSharingPeer({
  ...options,
  decisions: {
    note: ({ code, peer, words }) => {
      if (code === 'source-banned' && peer !== undefined) banned.push({ peer, words })
    },
  },
  wrap: (network) =>
    withFaults(network, {
      random: systemRandom,
      fault,
      onSent: (bytes) => {
        sent.bytes += bytes
      },
    }),
})

/** Bytes that left this namespace: what a socket has taken may still wait for the uplink. */
function transmittedBytes(): number {
  const line = readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .find((line) => line.includes('uplink:'))
  return Number(line?.split(':')[1]?.trim().split(/\s+/)[8])
}

/** Not what getrusage says, which is that of the parent when it forked, where that was more. */
function residentBytesMax(): number {
  return 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
}

async function fetch(contextId: string): Promise<object> {
  const beganMs = performance.now()
  const { sources, folder } = await peer.sharing.fetch(contextId)
  return { seconds: (performance.now() - beganMs) / 1_000, sources, folder }
}

listenForOrders({
  import: ({ folder }: { folder: string }) => peer.store.import(folder),
  meet: async ({ addresses }: { addresses: string[] }) => {
    for (const address of addresses) await peer.stack.members.meet(address, { deadlineMs: 20_000 })
    return {}
  },
  fetch: ({ contextId }: { contextId: string }) => fetch(contextId),
  'kill-after': ({ bytes }: { bytes: number }) => {
    const before = transmittedBytes()
    setInterval(() => {
      const transmitted = transmittedBytes() - before
      if (sent.bytes >= bytes && transmitted >= bytes * WIRE_FACTOR) process.kill(process.pid, 'SIGKILL')
    }, LOOK_EVERY_MS)
    return Promise.resolve({})
  },
  stats: () =>
    Promise.resolve({
      sentBytes: sent.bytes,
      residentBytesMax: residentBytesMax(),
      cpuSeconds: Object.values(process.cpuUsage()).reduce((sum, value) => sum + value / 1e6, 0),
      banned,
    }),
  sha256: ({ path }: { path: string }) =>
    Promise.resolve({
      hex: createHash('sha256').update(readFileSync(path)).digest('hex'),
    }),
})
console.log(JSON.stringify({ id: peer.id, address: peer.stack.addresses[0] }))
