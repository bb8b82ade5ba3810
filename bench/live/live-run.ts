// A scenario on real processes: peers, a submitter, and what befalls them when the scenario says.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sleep } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { HearthProcess } from '../../src/cli/terminal/child-process.ts'
import { DataFolder } from '../../src/node/home/data-folder.ts'
import type { Scenario } from '../../sim/scenarios/schema.ts'
import { importUntried, modelFiles, writeFiles } from '../../testing/sharing-peers.ts'
import { readJobLog, type JobCourse } from './job-log.ts'
import { LivePeer, type LiveSwarm } from './live-peer.ts'
import { planLive } from './plan.ts'
import { newFolder } from '../../testing/folders/new-folder.ts'

const SWARM_ID = '11fe0000000000000000000000000000'
const COMMAND_MS = 60_000
const LOOK_EVERY_MS = 50
const BOOTSTRAPS_MAX = 3

export interface LiveResult {
  course: JobCourse
  /** When the job began, by the wall clock, ms. */
  beganAtMs: number
  fetchedBytes: number
  peers: LivePeer[]
}

/** Runs the scenario's one job on real processes, with the churn of the seed. */
export async function runLive(scenario: Scenario, seed: number): Promise<LiveResult> {
  const folder = newFolder('live')
  const peers: LivePeer[] = []
  const stop = new AbortController()
  try {
    const swarm: LiveSwarm = {
      scenario,
      swarmId: SWARM_ID,
      bootstrap: () => peers.flatMap(({ address }) => address ?? []).slice(0, BOOTSTRAPS_MAX),
    }
    for (const [index, plan] of planLive(scenario, seed).entries())
      peers.push(new LivePeer(plan, swarm, join(folder, `peer-${index}`)))
    const [job] = scenario.jobs
    const [holder] = peers
    if (job === undefined || holder?.plan.group.holds !== true)
      throw new Error('a live scenario has one job, and its first peer holds the context')
    const contextId = await importContext(folder, holder.firstDisk, scenario.contexts.bytesGB * 1e9)
    const submitAtMs = job.atS * 1000
    for (const peer of peers) await startBefore(peer, submitAtMs)
    const requests = Math.ceil(job.inferences / scenario.inferencesPerRequest)
    const submit = submitJob(folder, requests, contextId, swarm.bootstrap())
    const { jobId } = await submit.event('job', COMMAND_MS)
    const log = join(folder, 'submitter', 'jobs', String(jobId), 'events.ndjson')
    const beganAtMs = await startedAt(log)
    const zeroMs = beganAtMs - submitAtMs
    const churn = peers.map((peer) => replay(peer, zeroMs, submitAtMs, stop.signal))
    await submit.event('job-summary', scenario.horizonS * 1000)
    await submit.exited
    stop.abort()
    await Promise.all([...churn, ...peers.map((peer) => peer.down())])
    let fetchedBytes = 0
    for (const peer of peers) fetchedBytes += await peer.fetchedBytes(contextId)
    return { course: readJobLog(log), beganAtMs, fetchedBytes, peers }
  } finally {
    stop.abort()
    await Promise.all(peers.map((peer) => peer.down()))
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The holder's disk gets a context of random weights. */
async function importContext(folder: string, data: string, bytes: number): Promise<string> {
  const model = await writeFiles(join(folder, 'model'), modelFiles('live', bytes))
  return await importUntried(new DataFolder(data).contextsPath, model, 'live')
}

/** Who is up when the job is submitted is started one after the other, before it; who is frozen by then, too. */
async function startBefore(peer: LivePeer, atMs: number): Promise<void> {
  const before = peer.plan.events.filter((event) => event.atMs < atMs)
  const last = before.at(-1)
  if (last === undefined || last.kind === 'down') return
  await peer.up(true)
  if (last.kind !== 'up') await peer.befall(last)
}

function submitJob(
  folder: string,
  requests: number,
  contextId: string,
  bootstrap: readonly string[],
): HearthProcess {
  const input = join(folder, 'input.jsonl')
  const lines = Array.from({ length: requests }, (_, n) =>
    JSON.stringify({
      custom_id: `request-${n}`,
      method: 'POST',
      url: '/v1/completions',
      body: { prompt: `claim number ${n}`, max_tokens: 1 },
    }),
  )
  writeFileSync(input, `${lines.join('\n')}\n`)
  return new HearthProcess([
    'submit',
    input,
    `--output=${join(folder, 'output.jsonl')}`,
    `--context=${contextId}`,
    `--data=${join(folder, 'submitter')}`,
    `--swarm=${SWARM_ID}`,
    ...bootstrap.map((address) => `--bootstrap=${address}`),
  ])
}

/** When the coordinator started, by the wall clock, ms. */
async function startedAt(log: string): Promise<number> {
  for (;;) {
    if (existsSync(log)) {
      const [header, start] = readFileSync(log, 'utf8').split('\n')
      if (header !== undefined && start !== undefined && start !== '') {
        const { openedAt } = JSON.parse(header) as { openedAt: number }
        return openedAt + (JSON.parse(start) as { t: number }).t
      }
    }
    await sleep(systemClock, LOOK_EVERY_MS)
  }
}

/** Applies one peer's events from `afterMs` of the scenario on, each at its moment; the next does not wait for the last. */
async function replay(peer: LivePeer, zeroMs: number, afterMs: number, signal: AbortSignal): Promise<void> {
  const underWay: Promise<void>[] = []
  for (const event of peer.plan.events) {
    if (event.atMs < afterMs) continue
    try {
      await sleep(systemClock, Math.max(0, zeroMs + event.atMs - systemClock.wallMs()), signal)
    } catch {
      break
    }
    underWay.push(peer.befall(event))
  }
  await Promise.all(underWay)
}
