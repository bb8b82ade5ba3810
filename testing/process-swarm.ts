import { createReadStream } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { askPeer } from '../src/api/control-client.ts'
import { HearthProcess, type HearthEvent } from '../src/cli/terminal/child-process.ts'
import { DataFolder } from '../src/node/home/data-folder.ts'
import type { PeerReport } from '../src/node/status/peer-status.ts'
import { newFolder } from './folders/new-folder.ts'
import { importUntried } from './sharing-peers.ts'

export const FACTS: string = fileURLToPath(new URL('../models/facts', import.meta.url))
const CLAIMS = join(FACTS, 'claims-3000.jsonl')
const READY_MS = 30_000

export interface RunningPeer {
  process: HearthProcess
  data: DataFolder
  peerId: string
  address: string
  swarm: string
  status(): Promise<PeerReport>
}

/** A swarm of real `hearth` processes on loopback, in a temporary folder, ended with the test. */
export class TestSwarm {
  readonly folder: string
  readonly #processes: HearthProcess[] = []
  #first: RunningPeer | undefined

  private constructor(folder: string) {
    this.folder = folder
  }

  static async create(): Promise<TestSwarm> {
    return new TestSwarm(newFolder('e2e'))
  }

  /** Kills what still runs and removes the folder. */
  async dispose(): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL')
    await Promise.all(this.#processes.map((child) => child.exited))
    await rm(this.folder, { recursive: true, force: true })
  }

  /** Any `hearth` command. */
  hearth(...parameters: string[]): HearthProcess {
    const child = new HearthProcess(parameters)
    this.#processes.push(child)
    return child
  }

  /** Puts the facts model into the data folder of a peer that does not run yet. */
  async importFacts(name: string): Promise<string> {
    return await importUntried(new DataFolder(this.path(name)).contextsPath, FACTS, 'facts')
  }

  /** Starts a peer; all but the first join it. */
  async up(name: string, ...parameters: string[]): Promise<RunningPeer> {
    const joining = this.#first === undefined ? [] : ['--bootstrap', this.#first.address]
    const data = new DataFolder(this.path(name))
    const base = ['up', '--data', data.path, '--listen', '/ip4/127.0.0.1/tcp/0']
    const child = this.hearth(...base, ...joining, ...parameters)
    const ready = await child.event('ready', READY_MS)
    const peer: RunningPeer = {
      process: child,
      data,
      peerId: String(ready['peerId']),
      address: String((ready['addresses'] as string[])[0]),
      swarm: String(ready['swarm']),
      status: () => askPeer<PeerReport>(data.control()!, '/v0/status'),
    }
    this.#first ??= peer
    return peer
  }

  /** Submits a file to the first peer's swarm. */
  submit(input: string, output: string, ...parameters: string[]): HearthProcess {
    const base = ['submit', input, '-o', output, '--data', this.path('submitter')]
    const context = parameters.includes('--context') ? [] : ['--context', 'facts']
    return this.hearth(...base, ...context, '--bootstrap', this.#first!.address, ...parameters)
  }

  /** The first `count` claims of the shipped file as a job file. */
  async claims(count: number): Promise<string> {
    const lines: string[] = []
    for await (const line of createInterface(createReadStream(CLAIMS))) {
      if (lines.length >= count) break
      lines.push(`${line}\n`)
    }
    return this.file('claims.jsonl', lines.join(''))
  }

  async file(name: string, text: string): Promise<string> {
    await writeFile(this.path(name), text)
    return this.path(name)
  }

  path(name: string): string {
    return join(this.folder, name)
  }
}

export interface OutputLine {
  custom_id: string
  response: { status_code: number; body: { choices: { message: { content: string } }[] } } | null
  error: { code: string; message: string } | null
}

export async function readOutput(path: string): Promise<OutputLine[]> {
  const text = await readFile(path, 'utf8')
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as OutputLine)
}

/** Resolves with the first progress event at which at least `committed` requests are done. */
export function progressOf(submit: HearthProcess, committed: number): Promise<HearthEvent> {
  return submit.event('progress', 60_000, (event) => Number(event['committed']) >= committed)
}
