// Hours of a swarm in ordinary use: peers join and restart, and a job is submitted, every few minutes.
import { sleep } from '../../src/base/clock.ts'
import { randomInteger, type Random } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import type { ChaosFigures, ChaosSwarm } from './swarm.ts'

export interface SoakOptions {
  lengthMs: number
  /** One peer joins or restarts, and one job is submitted, this often, ms. */
  everyMs: number
}

export interface SoakFigures {
  jobs: number
  joins: number
  kills: number
  departures: number
  /** Workers of all jobs together that were up and answered nothing. */
  unused: number
  /** Times that a worker was not connected to every other within `MEET_MS` of a job. */
  unmet: number
  /** The largest resident memory of a worker at the first job and at the last, MiB. */
  firstMib: number
  lastMib: number
}

const WORKERS_MAX = 8
const AWAY_MS_MAX = 5_000
const MEET_MS = 60_000
const MIB = 1024 * 1024

/** Runs `swarm` until `lengthMs` have passed, at least one job; adds what came of its jobs to `figures`. */
export async function soak(
  swarm: ChaosSwarm,
  options: SoakOptions,
  random: Random,
  figures: ChaosFigures,
): Promise<SoakFigures> {
  const soaked = { jobs: 0, joins: 0, kills: 0, departures: 0, unused: 0, unmet: 0, firstMib: 0, lastMib: 0 }
  const endsAtMs = systemClock.nowMs() + options.lengthMs
  do {
    const beganMs = systemClock.nowMs()
    await changeOne(swarm, random, soaked)
    const { workers } = swarm
    soaked.unused +=
      workers.length - (await swarm.job(workers[randomInteger(random, workers.length)]!, figures))
    soaked.jobs += 1
    soaked.unmet += await countUnmet(swarm)
    soaked.lastMib = Math.round(Math.max(...workers.map((worker) => worker.residentBytes())) / MIB)
    if (soaked.jobs === 1) soaked.firstMib = soaked.lastMib
    console.error(`job ${soaked.jobs}: ${JSON.stringify(soaked)}`)
    const restMs = Math.min(beganMs + options.everyMs, endsAtMs) - systemClock.nowMs()
    await sleep(systemClock, Math.max(0, restMs))
  } while (systemClock.nowMs() < endsAtMs)
  return soaked
}

async function changeOne(swarm: ChaosSwarm, random: Random, soaked: SoakFigures): Promise<void> {
  const { workers } = swarm
  if (workers.length < WORKERS_MAX && random.next() < 1 / 3) {
    await swarm.addWorker()
    soaked.joins += 1
    return
  }
  const isKill = random.next() < 1 / 2
  const worker = workers[randomInteger(random, workers.length)]!
  await worker.endFor(isKill ? 'SIGKILL' : 'SIGTERM', random.next() * AWAY_MS_MAX)
  if (isKill) soaked.kills += 1
  else soaked.departures += 1
}

/** Workers that are not connected to all others after a while. */
async function countUnmet({ workers }: ChaosSwarm): Promise<number> {
  const endsAtMs = systemClock.nowMs() + MEET_MS
  for (;;) {
    const met = await Promise.all(workers.map((worker) => worker.connectedPeers().catch(() => 0)))
    const unmet = met.filter((count) => count < workers.length - 1).length
    if (unmet === 0 || systemClock.nowMs() >= endsAtMs) return unmet
    await sleep(systemClock, 1_000)
  }
}
