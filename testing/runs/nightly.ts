// npm run nightly -- --minutes N: random seeds of every scenario of the simulator and of chaos, until the time
// is up. Failing seeds are added to out/nightly-failures.ndjson, each with the command that repeats it.
import { spawn } from 'node:child_process'
import { appendFileSync, globSync, mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { messageOf } from '../../src/base/errors.ts'
import { numberOption } from '../../src/base/number-option.ts'
import { nightlyTrial, type Trial } from './nightly-trial.ts'

const ROOT = join(import.meta.dirname, '../..')
const OUT = join(ROOT, 'out')
const FAILURES = join(OUT, 'nightly-failures.ndjson')
const SEED_MAX = 2 ** 31 - 1
/** A night begins anywhere in the list of scenarios, so that short nights reach all of them. */
const FIRST_TURN_MAX = 1_000
const TAIL_CHARACTERS = 4_000
/** A chaos round stops its processes before it ends, ms. */
const STOP_MS = 20_000

interface Outcome {
  /** Undefined when the night ended first: that is no failure. */
  exitCode: number | undefined
  tail: string
}

/** Runs one trial, until `endsAtMs` at the latest. */
function runTrial(trial: Trial, endsAtMs: number): Promise<Outcome> {
  const child = spawn(process.execPath, trial.command, { cwd: ROOT })
  let tail = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (tail = (tail + data.toString('utf8')).slice(-TAIL_CHARACTERS)))
  let isOver = false
  const soft = setTimeout(() => {
    isOver = true
    child.kill('SIGTERM')
  }, endsAtMs - Date.now())
  const hard = setTimeout(() => child.kill('SIGKILL'), endsAtMs - Date.now() + STOP_MS)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(soft)
      clearTimeout(hard)
      resolve({ exitCode: isOver ? undefined : (code ?? 1), tail })
    })
  })
}

function minutesOf(text: string): number {
  try {
    return numberOption('--minutes', text, { above: 0, unit: 'minutes' })
  } catch (error) {
    console.error(messageOf(error))
    return process.exit(2)
  }
}

const { values: flags } = parseArgs({ options: { minutes: { type: 'string', default: '60' } } })
const endsAtMs = Date.now() + 60_000 * minutesOf(flags.minutes)
const scenarios = globSync('sim/scenarios/*.yaml', { cwd: ROOT })
  .map((path) => basename(path, '.yaml'))
  .sort()
mkdirSync(OUT, { recursive: true })
let trials = 0
let failures = 0
for (let turn = randomInt(FIRST_TURN_MAX); Date.now() < endsAtMs; turn += 1) {
  const trial = nightlyTrial(scenarios, turn, randomInt(SEED_MAX))
  const { exitCode, tail } = await runTrial(trial, endsAtMs)
  if (exitCode === undefined) break
  trials += 1
  if (exitCode === 0) continue
  failures += 1
  const again = `node ${trial.command.join(' ')}`
  appendFileSync(FAILURES, `${JSON.stringify({ ...trial, command: again, exitCode, tail })}\n`)
  console.log(`failed: ${again}`)
}
console.log(`${trials} trials, ${failures} failed${failures === 0 ? '' : `: ${FAILURES}`}`)
process.exitCode = failures === 0 ? 0 : 1
