// How fast are bulk bytes, and do they leave tasks alone? Two processes on this machine; every ratio is of two
// measurements made one after the other.
import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { multiaddr } from '@multiformats/multiaddr'
import { z } from 'zod'
import type { MessageStream } from '../src/base/stream/message-stream.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { ChunkMap } from '../src/context-sharing/content/chunk-map.ts'
import { decodeManifest } from '../src/context-sharing/content/manifest.ts'
import { SourceSession, openSource, receiveManifest } from '../src/context-sharing/download/source-session.ts'
import { modelFiles, writeFiles } from '../testing/sharing-peers.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric } from './support/harness.ts'
import { Child } from './transfer/child.ts'
import { startSharingPeer, type SharingPeer } from './transfer/sharing-peer.ts'
import { newFolder } from '../testing/folders/new-folder.ts'

const MIB = 1024 * 1024
/** Chunks asked for ahead: what the window of a fetch comes to at such rates. */
const CHUNKS_AHEAD = 32
const ECHO_BYTES = 1024
const signal = new AbortController().signal

interface Far {
  rawPort: number
  address: string
  contextId: string
}

export class Pair {
  readonly far: Far
  readonly #child: Child
  readonly #peers: { libp2p: SharingPeer; direct: SharingPeer }
  #map: ChunkMap | undefined

  private constructor(child: Child, far: Far, peers: { libp2p: SharingPeer; direct: SharingPeer }) {
    this.#child = child
    this.far = far
    this.#peers = peers
  }

  static async start(folder: string, bytes: number): Promise<Pair> {
    const model = await writeFiles(join(folder, 'model'), modelFiles('bench', bytes))
    const child = new Child('far-main.ts', [join(folder, 'far'), model, String(bytes)])
    const far = await child.next<Far>()
    const peers = {
      libp2p: await startSharingPeer({ store: join(folder, 'libp2p'), directLane: false }),
      direct: await startSharingPeer({ store: join(folder, 'direct'), directLane: true }),
    }
    for (const { stack } of Object.values(peers)) {
      await stack.members.meet(far.address, { deadlineMs: 10_000, signal })
    }
    return new Pair(child, far, peers)
  }

  async stop(): Promise<void> {
    for (const { sharing, stack, store } of Object.values(this.#peers)) {
      await sharing.stop()
      await stack.stop()
      await store.close()
    }
    this.#child.kill()
  }

  /** Bytes per second over TCP, nothing done with them. */
  async raw(): Promise<number> {
    const beganMs = performance.now()
    const bytes = await new Promise<number>((resolve, reject) => {
      let bytes = 0
      connect({ host: '127.0.0.1', port: this.far.rawPort })
        .on('data', (data) => (bytes += data.byteLength))
        .once('end', () => resolve(bytes))
        .once('error', reject)
    })
    return (bytes * 1000) / (performance.now() - beganMs)
  }

  /** Bytes per second of one session of context/1: sent from disk by a holder, received and dropped here. */
  async stream(lane: 'libp2p' | 'direct'): Promise<number> {
    const { network } = this.#peers[lane].stack
    const peer = multiaddr(this.far.address).getComponents().at(-1)?.value ?? ''
    const options = { priority: 'normal', signal } as const
    const source = await openSource({ network, clock: systemClock }, peer, this.far.contextId, options)
    this.#map ??= new ChunkMap(decodeManifest(await receiveManifest(source, signal), this.far.contextId))
    const { count } = this.#map
    let asked = 0
    let bytes = 0
    const session: SourceSession = new SourceSession(
      { clock: systemClock, stream: source.stream, map: this.#map },
      {
        has: () => {},
        bytes: (more) => (bytes += more),
        chunk: () => {
          if (asked < count) session.request([asked++])
          else if (bytes >= total) session.end()
          return Promise.resolve()
        },
        refused: (chunks) => fail(`refuses chunks ${chunks.join(' ')}`),
        busy: () => fail('is busy'),
        peers: () => {},
      },
      signal,
    )
    const total = lengthsOf(this.#map).reduce((sum, length) => sum + length, 0)
    const beganMs = performance.now()
    asked = Math.min(CHUNKS_AHEAD, count)
    session.request(Array.from({ length: asked }, (_value, chunk) => chunk))
    await session.run()
    return (bytes * 1000) / (performance.now() - beganMs)
  }

  /** A whole fetch over the direct lane: verified, on disk, its files sealed. Bytes per second. */
  async fetch(): Promise<number> {
    const { sharing, store } = this.#peers.direct
    const beganMs = performance.now()
    const { bytesTotal } = await sharing.fetch(this.far.contextId)
    const bytesPerSecond = (bytesTotal * 1000) / (performance.now() - beganMs)
    await store.remove(this.far.contextId)
    return bytesPerSecond
  }

  /** CPU seconds of both ends for each GB of `work`, which says how many bytes went: what load beside us does not change. */
  async cpuPerGigabyte(bytes: number, work: () => Promise<number>): Promise<number> {
    const before = await this.#cpuSeconds()
    await work()
    return ((await this.#cpuSeconds()) - before) / (bytes / 1e9)
  }

  async #cpuSeconds(): Promise<number> {
    const far = await this.#child.order<NodeJS.CpuUsage>('cpu-usage')
    return [far, process.cpuUsage()].reduce((sum, { user, system }) => sum + (user + system) / 1e6, 0)
  }

  /** The 99th percentile of round trips on the tasks' connection while `work` goes on, ms. */
  async roundTripMs(lane: 'libp2p' | 'direct', work: () => Promise<unknown>): Promise<number> {
    const peer = multiaddr(this.far.address).getComponents().at(-1)?.value ?? ''
    const wait = { deadlineMs: 60_000 }
    const stream = await this.#peers[lane].stack.network.open(peer, 'echo/1', { lane: 'control', ...wait })
    await roundTrip(stream)
    const samples: number[] = []
    const working = { isOver: false }
    const over = work().finally(() => (working.isOver = true))
    while (!working.isOver) samples.push(await roundTrip(stream))
    await over
    await stream.close(wait)
    samples.sort((left, right) => left - right)
    return samples[Math.floor(samples.length * 0.99)] ?? Number.NaN
  }
}

const lengthsOf = (map: ChunkMap): number[] =>
  Array.from({ length: map.count }, (_value, chunk) => map.chunk(chunk).length)

async function roundTrip(stream: MessageStream): Promise<number> {
  const beganMs = performance.now()
  await stream.send({ text: 'x'.repeat(ECHO_BYTES) }, { deadlineMs: 60_000 })
  await stream.receive(z.unknown(), { deadlineMs: 60_000 })
  return performance.now() - beganMs
}

function fail(what: string): never {
  throw new Error(`the holder ${what}`)
}

async function measure(pair: Pair, { quick, runs, note }: BenchOptions): Promise<Metric[]> {
  const ratios: Record<'libp2p' | 'direct' | 'fetch' | 'libp2p-trip' | 'direct-trip', number[]> = {
    libp2p: [],
    direct: [],
    fetch: [],
    'libp2p-trip': [],
    'direct-trip': [],
  }
  const tripsMs = quick ? 300 : 3_000
  const idle = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, tripsMs))
  // One transfer after the other: a single one is over before a 99th percentile says anything.
  const transfers = async (lane: 'libp2p' | 'direct'): Promise<void> => {
    const untilMs = performance.now() + tripsMs
    do await pair.stream(lane)
    while (performance.now() < untilMs)
  }
  await pair.raw()
  await pair.stream('libp2p')
  await pair.stream('direct')
  for (let run = 0; run < runs; run += 1) {
    const raw = await pair.raw()
    const libp2p = await pair.stream('libp2p')
    const direct = await pair.stream('direct')
    const fetch = await pair.fetch()
    const rawAgain = await pair.raw()
    const reference = (raw + rawAgain) / 2
    ratios.libp2p.push(libp2p / reference)
    ratios.direct.push(direct / reference)
    ratios.fetch.push(fetch / reference)
    for (const lane of ['libp2p', 'direct'] as const) {
      const alone = await pair.roundTripMs(lane, idle)
      const beside = await pair.roundTripMs(lane, () => transfers(lane))
      ratios[`${lane}-trip`].push(beside / alone)
      note(`${lane}: round trips p99 ${alone.toFixed(2)} ms idle, ${beside.toFixed(2)} ms beside a transfer`)
    }
    note(
      `MB/s: TCP ${[raw, rawAgain].map(mbps).join(' and ')}, libp2p ${mbps(libp2p)}, direct ${mbps(direct)}, whole fetch ${mbps(fetch)}`,
    )
  }
  const higher = { unit: '×', better: 'higher' } as const
  const lower = { unit: '×', better: 'lower' } as const
  return [
    metricOf({ name: 'bulk stream over TCP, libp2p', ...higher, bound: 0.22, toward: 0.4 }, ratios.libp2p),
    metricOf(
      { name: 'bulk stream over TCP, direct lane', ...higher, bound: 0.6, toward: 0.8 },
      ratios.direct,
    ),
    metricOf({ name: 'fetch to disk, direct lane, over TCP', ...higher }, ratios.fetch),
    metricOf(
      { name: 'round trip p99 beside a transfer over idle, libp2p', ...lower, bound: 5 },
      ratios['libp2p-trip'],
    ),
    metricOf(
      { name: 'round trip p99 beside a transfer over idle, direct lane', ...lower, bound: 5 },
      ratios['direct-trip'],
    ),
  ]
}

const mbps = (bytesPerSecond: number): string => (bytesPerSecond / 1e6).toFixed(0)

const bench: Bench = {
  question: 'How fast are bulk bytes beside raw TCP, and do they leave tasks alone?',
  async run(options) {
    const folder = newFolder('bench')
    const pair = await Pair.start(folder, options.quick ? 32 * MIB : 512 * MIB)
    try {
      return await measure(pair, options)
    } finally {
      await pair.stop()
      rmSync(folder, { recursive: true })
    }
  },
}
export default bench
