// Two equal submitters at one serving peer, all of them processes of their own, with the embedded model: what
// share of the results each has had while both were there.
import type { HearthProcess } from '../src/cli/terminal/child-process.ts'
import { TestSwarm } from '../testing/process-swarm.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric } from './support/harness.ts'

const STARTED_MS_MAX = 60_000
const ENDED_MS_MAX = 300_000

/** The share of the one that came first, in the results from when both have some until the first has all. */
async function shareOfFirst(requests: number): Promise<number> {
  const swarm = await TestSwarm.create()
  try {
    await swarm.importFacts('peer')
    await swarm.up('peer')
    const input = await swarm.claims(requests)
    const [first, second] = ['first', 'second'].map((name) =>
      swarm.submit(input, swarm.path(`${name}.jsonl`), '--data', swarm.path(name)),
    ) as [HearthProcess, HearthProcess]
    await Promise.all([first, second].map((submit) => started(submit)))
    const before = [committed(first), committed(second)] as const
    await Promise.race([first, second].map((submit) => submit.event('job-summary', ENDED_MS_MAX)))
    const gained = [committed(first) - before[0], committed(second) - before[1]] as const
    return gained[0] / (gained[0] + gained[1])
  } finally {
    await swarm.dispose()
  }
}

async function started(submit: HearthProcess): Promise<void> {
  await submit.event('progress', STARTED_MS_MAX, (event) => Number(event['committed']) > 0)
}

/** As it said last. */
function committed(submit: HearthProcess): number {
  return Number(submit.events.findLast((event) => 'committed' in event)?.['committed'] ?? 0)
}

async function run({ quick, runs, note }: BenchOptions): Promise<Metric[]> {
  const shares: number[] = []
  for (let index = 0; index < runs; index += 1) {
    note(`two jobs at one peer: ${index + 1} of ${runs}`)
    shares.push(await shareOfFirst(quick ? 300 : 3_000))
  }
  return [
    metricOf(
      {
        name: 'two equal submitters at one peer: how far each is from half of the results',
        unit: '%',
        better: 'lower',
        bound: 5,
        toward: 2,
      },
      shares.map((share) => 100 * Math.abs(share - 0.5)),
    ),
  ]
}

const bench: Bench = { question: 'Do two submitters at one peer get the same?', run }
export default bench
