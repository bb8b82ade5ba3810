// The page about live and simulated runs: one curve of work done over time beside the other, for each scenario.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { courseFigure } from '../../sim/report/course-figure.ts'
import { htmlPage, provenance } from '../../sim/report/page.ts'
import type { Beside } from './beside.ts'

export async function writeLivePage(runs: ReadonlyMap<string, Beside>, file: string): Promise<void> {
  const figures = [...runs].map(([name, { live, simulated }]) => {
    const { run } = simulated
    const offsetS = run.jobs[0]?.submittedAtS ?? 0
    const points = live.committedS.map((atS, index) => ({ timeS: atS + offsetS, inferences: index + 1 }))
    return courseFigure(name, points, [run], { measured: 'live', caption: CAPTION })
  })
  const page = await htmlPage({
    title: 'The simulator beside real processes',
    lead: 'Eight peers as processes on one machine with the fake engine, and the same scenario simulated: same seed, same churn.',
    figures,
    foot: provenance([...runs.values()].map(({ simulated }) => simulated.run)),
  })
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, page)
}

const CAPTION =
  'Work done by the same swarm, as real processes and simulated. What befalls the peers is the same.'
