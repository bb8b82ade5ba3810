import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Random, seededRandom } from '../src/base/random.ts'
import {
  REPLICATION_DEFAULTS,
  type ReplicationOptions,
} from '../src/context-sharing/replication/core/replication.ts'
import { ReplicationWorld } from '../testing/virtual/replication-world.ts'
import { modelFiles, writeFiles } from '../testing/sharing-peers.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { type Metric, metricOf } from './support/harness.ts'
import { repairSeconds } from './transfer/repair-run.ts'
import { newFolder } from '../testing/folders/new-folder.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** Volunteers' machines: on for 4 h, off for 2 h, both exponential; one departure in fifty is for ever. */
const ON_MS = 4 * HOUR_MS
const OFF_MS = 2 * HOUR_MS
const WIPED_SHARE = 0.02
/** A copy takes 10 min. */
const CHURN_BYTES = 12e9
const BYTES_PER_SECOND = 20e6

interface Churn {
  seed: number
  peers: number
  contexts: number
  days: number
  core?: Partial<ReplicationOptions>
  /** Whether a peer comes back with the disk that it had. */
  keepsDisk?: boolean
}

interface Outcome {
  copiesPerContextDay: number
  /** Share of the time at which a context had a copy on a peer that was up. */
  availability: number
}

/** Plays a swarm with churn on the cores that run in peers. */
export function playChurn({ seed, peers, contexts, days, core, keepsDisk = true }: Churn): Outcome {
  const random = seededRandom(seed)
  const world = new ReplicationWorld({
    peers,
    seed,
    bytes: CHURN_BYTES,
    bytesPerSecond: BYTES_PER_SECOND,
    stepMs: 5_000,
    ...(core === undefined ? {} : { core }),
  })
  world.run(REPLICATION_DEFAULTS.joinAfterMs)
  const ids = Array.from({ length: contexts }, (_value, index) => `context-${index}`)
  for (const [index, id] of ids.entries())
    for (let copy = 0; copy < 3; copy += 1) world.import(`peer-${(index * 3 + copy) % peers}`, id)
  const changes = new Map(
    [...world.peers.keys()].map((name) => [name, world.nowMs + exponential(random, ON_MS)]),
  )
  const endMs = world.nowMs + days * DAY_MS
  let missingMs = 0
  while (world.nowMs < endMs) {
    const sinceMs = world.nowMs
    world.run(MINUTE_MS)
    for (const id of ids) if (world.copies(id).length === 0) missingMs += world.nowMs - sinceMs
    for (const [name, atMs] of changes) {
      if (atMs > world.nowMs) continue
      const isUp = world.get(name).isUp
      if (isUp) world.vanish(name)
      else world.comeBack(name, keepsDisk && random.next() >= WIPED_SHARE)
      changes.set(name, world.nowMs + exponential(random, isUp ? OFF_MS : ON_MS))
    }
  }
  const copies = world.effects.filter(({ effect }) => effect.kind === 'pull').length
  return {
    copiesPerContextDay: copies / contexts / days,
    availability: 1 - missingMs / (contexts * days * DAY_MS),
  }
}

function exponential(random: Random, meanMs: number): number {
  return -meanMs * Math.log(1 - random.next())
}

/** A holder of three vanishes: until there are three again, over the grace and twice the time of one copy. */
function restoreRatio(seed: number): number {
  const bytes = 1e9
  const world = new ReplicationWorld({ peers: 12, seed, bytes, bytesPerSecond: BYTES_PER_SECOND })
  world.run(REPLICATION_DEFAULTS.joinAfterMs + MINUTE_MS)
  for (let index = 0; index < 3; index += 1) world.import(`peer-${index}`, 'context')
  world.run(MINUTE_MS)
  world.vanish('peer-1')
  const tookMs = world.until(() => world.copies('context').length === 3, HOUR_MS) ?? Number.POSITIVE_INFINITY
  return tookMs / (REPLICATION_DEFAULTS.graceMs + (2 * 1000 * bytes) / BYTES_PER_SECOND)
}

/** The same with six processes, smaller: 40 MB, 4 MB/s, 15 s of grace, so that it takes a minute and a half. */
const LIVE = { bytes: 40e6, bytesPerSecond: 4e6, graceSeconds: 15, peers: 6, holders: 3 }

async function liveRestoreRatio(quick: boolean): Promise<number> {
  const { bytes, bytesPerSecond, graceSeconds, peers, holders } = quick
    ? { ...LIVE, bytes: 4e6, graceSeconds: 4, peers: 4 }
    : LIVE
  const folder = newFolder('repair')
  try {
    const model = await writeFiles(join(folder, 'model'), modelFiles('bench', bytes))
    const seconds = await repairSeconds({
      folder,
      model,
      peers,
      holders,
      graceSeconds,
      uploadBytesPerSecond: bytesPerSecond,
    })
    return seconds / (graceSeconds + (2 * bytes) / bytesPerSecond)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function simulated({ quick, runs, note }: BenchOptions): Promise<Metric[]> {
  const size = quick ? { peers: 12, contexts: 3, days: 1 } : { peers: 40, contexts: 10, days: 7 }
  note(`${size.peers} peers, ${size.contexts} contexts, ${size.days} days of virtual time, ${runs} times`)
  const outcomes = Array.from({ length: runs }, (_value, index) => playChurn({ ...size, seed: index + 1 }))
  const ratios = Array.from({ length: 20 }, (_value, index) => restoreRatio(index + 1))
  return await Promise.resolve([
    metricOf(
      {
        name: 'holder vanishes: three copies again / (grace + 2 F/u), virtual time',
        unit: '',
        better: 'lower',
        bound: 1,
      },
      ratios,
    ),
    metricOf(
      { name: 'time that a context has a copy up', unit: '', better: 'higher' },
      outcomes.map(({ availability }) => availability),
    ),
    metricOf(
      { name: 'copies made per context and day', unit: '', better: 'lower' },
      outcomes.map(({ copiesPerContextDay }) => copiesPerContextDay),
    ),
  ])
}

async function live({ quick, runs, note }: BenchOptions): Promise<Metric[]> {
  const ratios: number[] = []
  for (let run = 0; run < runs; run += 1) {
    ratios.push(await liveRestoreRatio(quick))
    note(`six real peers, one of three holders killed: ${ratios.at(-1)?.toFixed(2)} of grace + 2 F/u`)
  }
  return [
    metricOf(
      {
        name: 'holder vanishes: three copies again / (grace + 2 F/u), six real peers',
        unit: '',
        better: 'lower',
        bound: 1,
      },
      ratios,
    ),
  ]
}

async function run(options: BenchOptions): Promise<Metric[]> {
  const { only } = options
  return [
    ...(only === undefined || only === 'virtual' ? await simulated(options) : []),
    ...(only === undefined || only === 'live' ? await live(options) : []),
  ]
}

const bench: Bench = { question: 'Do copies outlive their hosts, and at what price?', run }
export default bench
