// A program: runs the commands that README.md prints, and one of each other kind, on two machines with empty homes.
// `node readme-flow.ts FOLDER [--namespace]` prints one line of JSON. With --namespace it is alone on its network.
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { lookup } from 'node:dns/promises'
import { createInterface } from 'node:readline'
import { blocksOf, linesOf, ROOT } from '../docs/pages.ts'
import { recordNames } from './name-recorder.ts'

/** The output of the program. */
export interface FlowReport {
  steps: Step[]
  /** Files that are neither of a data folder, nor of the cache, nor asked for. */
  strayFiles: string[]
  /** Names that were looked up. */
  names: string[]
  /** Proof that the recorder hears look-ups: those of a process that looks one up. */
  provenNames: string[]
  answers: string[]
}

export interface Step {
  command: string
  status: number | string
  output: string
}

const [folder = '', flag] = process.argv.slice(2)
const isAlone = flag === '--namespace'
const HEARTH = join(ROOT, 'bin/hearth.js')
const FACTS = join(ROOT, 'models/facts')
const READY_MS = 40_000
/** Far more than any of them takes on a busy machine; then it is killed, and its status says so. */
const COMMAND_MS = 120_000
const steps: Step[] = []

interface Running {
  step: Step
  ended: Promise<void>
  ready: Promise<void>
  kill: () => void
}

/** A machine with nothing in its home. */
class Machine {
  readonly home: string
  readonly #environment: NodeJS.ProcessEnv

  constructor(name: string) {
    this.home = join(folder, name)
    mkdirSync(join(folder, 'tmp'), { recursive: true })
    mkdirSync(this.home)
    this.#environment = {
      PATH: process.env['PATH'],
      HOME: this.home,
      TMPDIR: join(folder, 'tmp'),
      HEARTH_CHECK: '1',
    }
  }

  /** Runs a command until it ends. */
  async run(words: readonly string[]): Promise<Step> {
    const { step, ended, kill } = this.#start(words)
    const late = setTimeout(kill, COMMAND_MS)
    await ended
    clearTimeout(late)
    return step
  }

  /** Starts a peer; resolves when it printed the command for the other machines. */
  async up(words: readonly string[]): Promise<Running> {
    const running = this.#start(words)
    const late = setTimeout(() => running.kill(), READY_MS)
    await Promise.race([running.ready, running.ended])
    clearTimeout(late)
    return running
  }

  #start(words: readonly string[]): Running {
    const child = spawn(process.execPath, ['--max-semi-space-size=8', HEARTH, ...words], {
      cwd: join(folder, 'work'),
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const step: Step = { command: `hearth ${words.join(' ')}`, status: 'running', output: '' }
    steps.push(step)
    const { promise: ready, resolve: isReady } = Promise.withResolvers<void>()
    for (const stream of [child.stdout, child.stderr])
      createInterface(stream).on('line', (line) => {
        step.output += `${line}\n`
        if (line.includes('--bootstrap')) isReady()
      })
    const ended = new Promise<void>((resolve) => {
      child.once('close', (code, signal) => {
        step.status = code ?? signal ?? 'gone'
        resolve()
      })
    })
    return { step, ended, ready, kill: () => child.kill('SIGKILL') }
  }
}

/** Words of a printed line, with what the page leaves to the reader filled in. */
function wordsOf(line: string): string[] {
  const words = line
    .replace(/\s#.*$/, '')
    .trim()
    .split(/\s+/)
  const own = words
    .slice(words.indexOf('hearth') + 1)
    .map((word) => (word === 'hf:OWNER/NAME' ? FACTS : word))
  return isAlone
    ? own
    : own.flatMap((word) => (word === '--lan' ? ['--listen', '/ip4/127.0.0.1/tcp/0'] : [word]))
}

function filesUnder(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
}

mkdirSync(join(folder, 'work'), { recursive: true })
const recorder = isAlone ? await recordNames() : undefined
const first = new Machine('first')
const second = new Machine('second')

const blocks = blocksOf('README.md')
const lines = blocks.filter(({ language }) => language === 'sh').flatMap(linesOf)
const printed = lines.filter((line) => line.startsWith('npx hearth')).map(wordsOf)
const [batch] = blocks.filter(({ language }) => language === 'jsonl')
writeFileSync(join(folder, 'work/batch.jsonl'), batch?.text ?? '')

let joining: string[] | undefined
const peers: Running[] = []
for (const words of printed) {
  if (words.some((word) => word.includes('…'))) peers.push(await second.up(joining ?? words))
  else if (words[0] === 'up') {
    const peer = await first.up(words)
    peers.push(peer)
    joining = wordsOf(peer.step.output.split('\n').find((line) => line.includes('--bootstrap')) ?? '')
  } else await first.run(words)
}

const listed = await first.run(['job', 'ls', '--json'])
const job = /"(?:jobId|id)":"([^"]+)"/.exec(listed.output)?.[1] ?? 'none'
/** One of each kind; the others of a kind load the same code, and the demo's processes are all of these kinds. */
const OTHERS = [
  ['sim', 'run', 'live-drain', '--out', 'sim'],
  ['job', 'results', job],
  ['context', 'scrub', 'my-model'],
  ['status'],
  ['peers'],
]
/** Two at a time: each is a process of its own. */
const queue = [...OTHERS]
const runQueue = async (): Promise<void> => {
  for (let words = queue.shift(); words !== undefined; words = queue.shift()) await first.run(words)
}
await Promise.all([runQueue(), runQueue()])
await first.run(['pause'])
await first.run(['resume'])
await second.run(['drain'])
await first.run(['drain'])
await Promise.all(peers.map(({ ended }) => ended))

const names = [...new Set(recorder?.names)]
if (isAlone) {
  await lookup('recorder.hears').catch(() => {})
}
const provenNames = (recorder?.names ?? []).filter((name) => !names.includes(name))
recorder?.stop()

const ASKED_FOR =
  /^(?:(?:first|second)\/(?:\.local\/share|\.cache)\/hearth\/|work\/(?:batch\.jsonl$|results\.jsonl$|sim\/))/
const strayFiles = ['first', 'second', 'work', 'tmp']
  .flatMap((name) => filesUnder(join(folder, name)))
  .map((path) => path.slice(folder.length + 1))
  .filter((path) => !ASKED_FOR.test(path))
const answers = readFileSync(join(folder, 'work/results.jsonl'), 'utf8').trim().split('\n')
const report: FlowReport = { steps, strayFiles, names, provenNames, answers }
console.log(JSON.stringify(report))
process.exit(0)
