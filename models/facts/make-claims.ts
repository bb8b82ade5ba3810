// Writes a job file of claims, in the form of OpenAI's batch files, and the right verdicts beside it:
// node models/facts/make-claims.ts --count N --seed S --out FILE.jsonl [--labels LABELS.jsonl]
//   [--split held-out|training|all]   which phrasings to use; held-out unless told
import { closeSync, openSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { labelLine, makeJob, requestLine } from './claims-job.ts'
import type { Split } from './claims.ts'

const USAGE =
  'usage: make-claims.ts --count N --seed S --out FILE.jsonl [--labels LABELS.jsonl] [--split held-out|training|all]'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '' },
    seed: { type: 'string', default: '' },
    out: { type: 'string', default: '' },
    labels: { type: 'string' },
    split: { type: 'string', default: 'held-out' },
  },
})

const isSplit = (text: string): text is Split => ['held-out', 'training', 'all'].includes(text)

function run(): void {
  const [count, seed] = [Number.parseInt(values.count, 10), Number.parseInt(values.seed, 10)]
  if (!(count >= 0) || !(seed >= 0) || values.out === '' || !isSplit(values.split)) {
    console.error(USAGE)
    process.exitCode = 2
    return
  }
  const requests = openSync(values.out, 'w')
  const labels = values.labels === undefined ? undefined : openSync(values.labels, 'w')
  for (const item of makeJob(count, seed, values.split)) {
    writeSync(requests, requestLine(item))
    if (labels !== undefined) writeSync(labels, labelLine(item))
  }
  closeSync(requests)
  if (labels !== undefined) closeSync(labels)
}

run()
