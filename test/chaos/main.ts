// npm run chaos -- [--json] [--rounds N] [--seed N] [--soak [--minutes N] [--every SECONDS]]: jobs on real processes that are killed, frozen, cut off
// and ended, compared with one that was left alone. 50 rounds make over 500 kills of workers and about 200 of
// the submitter.
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/base/random.ts'
import { soak } from './soak.ts'
import { ChaosSwarm, noFigures } from './swarm.ts'

// Every process of the swarm checks its cores after every step.
process.env['HEARTH_CHECK'] = '1'

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    soak: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '120' },
    every: { type: 'string', default: '120' },
  },
})
const rounds = flags.soak ? 0 : Number(flags.rounds)
const random = seededRandom(Number(flags.seed))
const figures = noFigures()
const beganMs = performance.now()
const swarm = await ChaosSwarm.start({
  requests: 3_000,
  slots: 2,
  requestMs: 40,
  faults: {
    workers: 5,
    workerKills: 14,
    submitterKills: 4,
    freezes: 2,
    departures: 2,
    partitions: 2,
    resets: 2,
    lengthMs: 15_000,
  },
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void swarm.stop().then(() => process.exit(1)))
}
try {
  if (flags.soak) {
    const lengthMs = Number(flags.minutes) * 60_000
    const soaked = await soak(swarm, { lengthMs, everyMs: Number(flags.every) * 1_000 }, random, figures)
    console.log(JSON.stringify({ event: 'soak-summary', ...soaked }))
    process.exitCode = soaked.unmet === 0 ? 0 : 1
  }
  for (let round = 1; round <= rounds; round += 1) {
    await swarm.round(random, figures)
    console.error(`round ${round} of ${rounds}: ${JSON.stringify(figures)}`)
  }
} finally {
  await swarm.stop()
}
const wallMs = Math.round(performance.now() - beganMs)
const { lost, duplicated, wrong, unlikeJournal } = figures
const summary = { event: 'chaos-summary', seed: Number(flags.seed), rounds, wallMs, ...figures }
if (flags.json) console.log(JSON.stringify(summary))
else
  console.log(
    Object.entries({ lost, duplicated, wrong, unlikeJournal })
      .map(([name, count]) => `${name} ${count}`)
      .join(', '),
  )
if (lost + duplicated + wrong + unlikeJournal > 0) process.exitCode = 1
