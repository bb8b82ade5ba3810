// Tests that kill -9 loses no data. Kills a leecher process at random moments of a fetch. After each kill,
// compares its journals with the disk, and the next run with the chunks that it had.
import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { silentLogger } from '../src/base/log/logger.ts'
import { type Random, seededRandom } from '../src/base/random.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { ContextStore } from '../src/context-sharing/store/context-store.ts'
import { modelFiles, writeFiles } from '../testing/sharing-peers.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric } from './support/harness.ts'
import { startSharingPeer } from './transfer/sharing-peer.ts'
import { newFolder } from '../testing/folders/new-folder.ts'

const MIB = 1024 * 1024
const KILLS = 100
/** A fetch of 64 MiB at this rate takes two seconds: time enough to be killed in the middle of it. */
const UPLOAD_BYTES_PER_SECOND: number = 32 * MIB
/** A kill comes at most so long after the first new chunk, ms. */
const KILL_WITHIN_MS = 700

interface Life {
  /** Chunks that it held before it died, and those that it fetched itself. */
  held: Set<number>
  fetched: Set<number>
  isDone: boolean
}

/** The faults over all kills. */
interface Faults {
  kills: number
  fetchedAgain: number
  claimedAndWrong: number
  heldAndNotClaimed: number
  fetches: number
}

const bench: Bench = {
  question: 'Does SIGKILL in the middle of a fetch cost a chunk that was verified?',
  async run(options: BenchOptions): Promise<Metric[]> {
    const folder = newFolder('crash')
    const model = await writeFiles(join(folder, 'model'), modelFiles('crash', 64 * MIB + 5))
    const seed = await startSharingPeer({
      store: join(folder, 'seed'),
      directLane: true,
      uploadRate: UPLOAD_BYTES_PER_SECOND,
    })
    const { contextId } = await seed.store.import(model)
    const faults = { kills: 0, fetchedAgain: 0, claimedAndWrong: 0, heldAndNotClaimed: 0, fetches: 0 }
    const address = seed.stack.addresses[0] ?? ''
    try {
      await killAndCompare({ folder, contextId, address, kills: options.quick ? 3 : KILLS, faults })
    } finally {
      await seed.sharing.stop()
      await seed.stack.stop()
      await seed.store.close()
      rmSync(folder, { recursive: true, force: true })
    }
    options.note(`${faults.kills} kills over ${faults.fetches} fetches`)
    const zero = { unit: 'chunks', better: 'lower', bound: 0 } as const
    return [
      metricOf({ name: 'leecher killed', unit: 'times', better: 'higher' }, [faults.kills]),
      metricOf({ name: 'verified chunks fetched again', ...zero }, [faults.fetchedAgain]),
      metricOf({ name: 'chunks claimed that are not right on disk', ...zero }, [faults.claimedAndWrong]),
      metricOf({ name: 'verified chunks not claimed after the kill', ...zero }, [faults.heldAndNotClaimed]),
    ]
  },
}
export default bench

interface Work {
  folder: string
  contextId: string
  address: string
  kills: number
  faults: Faults
}

async function killAndCompare({ folder, contextId, address, kills, faults }: Work): Promise<void> {
  const random = seededRandom(1)
  let before = new Set<number>()
  while (faults.kills < kills) {
    const store = join(folder, `leecher-${faults.fetches}`)
    const life = await liveAndDie([store, contextId, address], random)
    for (const chunk of life.fetched) if (before.has(chunk)) faults.fetchedAgain += 1
    if (!life.isDone) faults.kills += 1
    await compareWithDisk(store, contextId, life, faults)
    before = life.held
    if (!life.isDone) continue
    rmSync(store, { recursive: true, force: true })
    before = new Set()
    faults.fetches += 1
  }
}

/** One process, killed a random while after it got its first new chunk, or told that it is done. */
async function liveAndDie(args: readonly string[], random: Random): Promise<Life> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'transfer/leecher-main.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const life: Life = { held: new Set(), fetched: new Set(), isDone: false }
  const stop = (): void => void child.kill('SIGKILL')
  for await (const line of createInterface({ input: child.stdout })) {
    const { kind, chunk = -1 } = JSON.parse(line) as { kind: string; chunk?: number }
    if (kind === 'done') {
      life.isDone = true
      stop()
      continue
    }
    life.held.add(chunk)
    if (kind !== 'got') continue
    if (life.fetched.size === 0) systemClock.schedule(random.next() * KILL_WITHIN_MS, stop)
    life.fetched.add(chunk)
  }
  return life
}

async function compareWithDisk(folder: string, contextId: string, life: Life, faults: Faults): Promise<void> {
  const store = new ContextStore(
    { clock: systemClock, log: silentLogger },
    { folder, keepFree: { bytes: 0 } },
  )
  await store.open()
  const context = store.held(contextId)
  for (const chunk of life.held) if (context?.held.has(chunk) !== true) faults.heldAndNotClaimed += 1
  for (const chunk of context?.held ?? []) {
    if ((await context?.check(chunk)) !== true) faults.claimedAndWrong += 1
  }
  await store.close()
}
