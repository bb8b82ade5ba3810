// One swarm of real processes for bench/swarm, from its start to what came of it.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault } from '../../testing/faulty-network.ts'
import { Child } from './child.ts'
import type { Places } from './places.ts'

export interface SwarmRunOptions {
  places: Places
  /** For the stores; whoever calls removes it. */
  folder: string
  /** The model folder that the holders import. */
  model: string
  /** Peers that have the context at the start; they are numbered first. */
  holders: number
  /** Peers that fetch it, all at once. */
  fetchers: number
  /** A peer's fault, by its number. */
  faults?: Readonly<Record<number, Fault>>
  directLane: boolean
  /** The upload cap in each peer's own settings, bytes per second. Default: no cap. */
  uploadRate?: number
  /** The first holder is killed once this much of chunks has left its namespace. */
  killAfterBytes?: number | undefined
}

export interface Banned {
  peer: number
  corruptChunks: number
}

export interface SwarmOutcome {
  /** Until the last fetcher had all of it. */
  seconds: number
  /** Bytes of chunks that each holder sent; 0 for one that was killed. */
  sentBytes: number[]
  /** All bytes of chunks sent, by holders and fetchers. */
  allSentBytes: number
  /** The most memory that each peer had, of those alive at the end. */
  residentBytesMax: number[]
  /** The CPU time of all peers from the first request on; undefined where one was killed. */
  cpuSeconds: number
  /** Who was banned by somebody, by number, and after how many corrupt chunks. */
  banned: Banned[]
  /** The sha2-256 of the weights at each fetcher. */
  hashes: string[]
}

interface Started {
  child: Child
  id: string
  address: string
}

interface Stats {
  sentBytes: number
  residentBytesMax: number
  cpuSeconds: number
  banned: { peer: string; words: string }[]
}

/** Everything up to the first byte happens before the clock starts: processes, imports, connections. */
export async function runSwarm(options: SwarmRunOptions): Promise<SwarmOutcome> {
  const { holders, fetchers } = options
  const started: Started[] = []
  try {
    for (let index = 0; index < holders + fetchers; index += 1) started.push(await start(options, index))
    const [first] = started
    if (first === undefined) throw new RangeError('a swarm of nobody')
    let contextId = ''
    for (const { child } of started.slice(0, holders)) {
      contextId = (await child.order<{ contextId: string }>('import', { folder: options.model })).contextId
    }
    for (const [index, { child }] of started.entries()) {
      await child.order('meet', { addresses: started.slice(0, index).map(({ address }) => address) })
    }
    const isKilled = options.killAfterBytes !== undefined
    if (isKilled) await first.child.order('kill-after', { bytes: options.killAfterBytes })
    return await measure(started, holders, contextId, isKilled)
  } finally {
    for (const { child } of started) child.kill()
  }
}

async function start(
  { places, folder, faults, directLane, uploadRate }: SwarmRunOptions,
  index: number,
): Promise<Started> {
  const store = join(folder, `peer-${index}`)
  mkdirSync(store, { recursive: true })
  const options = { store, host: places.hostOf(index), directLane, uploadRate, fault: faults?.[index] }
  const child = new Child('peer-main.ts', [JSON.stringify(options)], places.within(index))
  return { child, ...(await child.next<{ id: string; address: string }>()) }
}

async function measure(
  started: readonly Started[],
  holders: number,
  contextId: string,
  isKilled: boolean,
): Promise<SwarmOutcome> {
  const fetchers = started.slice(holders)
  const before = await Promise.all(started.map(({ child }) => child.order<Stats>('stats')))
  const fetched = await Promise.all(
    fetchers.map(({ child }) => child.order<{ seconds: number; folder: string }>('fetch', { contextId })),
  )
  const alive = isKilled ? started.slice(1) : started
  const stats = await Promise.all(alive.map(({ child }) => child.order<Stats>('stats')))
  const hashes = await Promise.all(
    fetchers.map(async ({ child }, index) => {
      const path = join(fetched[index]?.folder ?? '', 'onnx/model.onnx_data')
      return (await child.order<{ hex: string }>('sha256', { path })).hex
    }),
  )
  const sentBytes = stats.map((peer) => peer.sentBytes)
  return {
    seconds: Math.max(...fetched.map(({ seconds }) => seconds)),
    sentBytes: isKilled ? [0, ...sentBytes.slice(0, holders - 1)] : sentBytes.slice(0, holders),
    allSentBytes: sentBytes.reduce((sum, bytes) => sum + bytes, 0),
    residentBytesMax: stats.map((peer) => peer.residentBytesMax),
    cpuSeconds: cpuOf(stats) - cpuOf(before),
    banned: stats.flatMap(({ banned }) =>
      banned.map(({ peer, words }) => ({
        peer: started.findIndex(({ id }) => id === peer),
        // "2 of its chunks were corrupt"
        corruptChunks: Number.parseInt(words, 10),
      })),
    ),
    hashes,
  }
}

const cpuOf = (stats: readonly Stats[]): number => stats.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)
