// How fast is the engine? Every figure is a ratio of two measurements of one run, on the same cores.
import { rmSync } from 'node:fs'
import type { Bench } from './support/bench.ts'
import { COLD_START } from './engine/cold-start.ts'
import { DECODING_163M, DECODING_31M } from './engine/decoding.ts'
import { EVENT_LOOP } from './engine/event-loop.ts'
import { BenchModels } from './engine/models.ts'
import { LLAMA_CPP, TRANSFORMERS } from './engine/peers.ts'
import type { Row, RowContext } from './engine/rows.ts'
import { MIXED_LENGTHS, SCRIPT_SHARE, SHARED_PREFIX } from './engine/workloads.ts'
import { metricOf, type Metric } from './support/harness.ts'
import { newFolder } from '../testing/folders/new-folder.ts'

const ROWS: readonly Row[] = [
  DECODING_31M,
  DECODING_163M,
  LLAMA_CPP,
  TRANSFORMERS,
  MIXED_LENGTHS,
  COLD_START,
  SHARED_PREFIX,
  SCRIPT_SHARE,
  EVENT_LOOP,
]

async function measureRow(row: Row, context: RowContext): Promise<Metric[]> {
  const { only = '', runs, note } = context.options
  if (!row.wanted.some(({ name }) => name.includes(only))) return []
  note(row.wanted[0]?.name ?? '')
  const open = await row.open(context)
  if (open === undefined) return []
  const values: number[][] = []
  for (let run = 0; run < runs; run += 1) values.push(await open.measure())
  await open.close()
  return row.wanted
    .map((wanted, index) =>
      metricOf(
        wanted,
        values.map((run) => run[index] ?? Number.NaN),
      ),
    )
    .filter(({ name }) => name.includes(only))
}

const bench: Bench = {
  question: 'How fast is the inference engine?',
  async run(options) {
    const folder = newFolder('bench')
    const context = { folder, options, models: new BenchModels(folder, options.quick) }
    try {
      const metrics: Metric[] = []
      for (const row of ROWS) metrics.push(...(await measureRow(row, context)))
      return metrics
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
}
export default bench
