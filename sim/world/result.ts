import type { LoadedScenario } from '../scenarios/load.ts'
import {
  RUN_RESULT_VERSION,
  type CheckVerdict,
  type GpuSeconds,
  type JobResult,
  type PeerResult,
  type RunResult,
} from '../runs/result/run-result.ts'
import { checkBytes, checkGpuSeconds, checkJobs } from './swarm/checks.ts'
import type { JobRun } from './job-run.ts'
import type { Peer } from './peer/peer.ts'
import type { TaskRecorder } from './task-recorder.ts'
import type { World } from './world.ts'

/** The parts of a result that are not of its world. */
interface RunFrame {
  loaded: LoadedScenario
  seed: number
  tasks: TaskRecorder
  /** Its wall-clock time, s. */
  wallS: number
  /** The hash of the simulator's code. */
  codeHash: string
}

/** The outcome of a run. */
export function resultOf(world: World, { loaded, seed, tasks, wallS, codeHash }: RunFrame): RunResult {
  const { kernel, jobs, scenario } = world
  const peers = world.peers.filter((peer) => peer.sessions > 0)
  const makespanS = Math.max(...jobs.map((job) => (job.endedUs ?? kernel.nowUs) / 1e6))
  const sum = (count: (job: JobRun) => number): number => jobs.reduce((total, job) => total + count(job), 0)
  return {
    version: RUN_RESULT_VERSION,
    scenario: loaded.name,
    title: scenario.title,
    seed,
    parameters: loaded.parameters,
    scenarioHash: loaded.hash,
    codeHash,
    node: process.version,
    wallS,
    events: kernel.count,
    eventHash: kernel.hash,
    isComplete: world.isComplete,
    makespanS,
    ...(world.tailFromUs === undefined || !world.isComplete
      ? {}
      : { tailS: makespanS - world.tailFromUs / 1e6 }),
    work: {
      total: sum((job) => job.workload.inferences),
      completed: sum((job) => job.committedInferences),
      wasted: Math.round(peers.reduce((total, peer) => total + wastedInferences(peer), 0)),
      failed: sum((job) => job.failedInferences),
    },
    jobs: jobs.map((job) => jobResult(world, job)),
    peers: peers.map(peerResult),
    gpuS: addUp(peers.map(gpuSeconds)),
    tasks: tasks.times(),
    bytes: {
      fromOrigin: Math.round(world.bytes.fromOrigin),
      fromPeers: Math.round(world.bytes.fromPeers),
      wasted: Math.round(world.peers.reduce((total, { larder }) => total + larder.wasted, 0)),
      forCopies: Math.round(world.peers.reduce((total, { larder }) => total + larder.spareBytes, 0)),
    },
    faults: world.faults,
    copiesMade: world.peers.reduce((total, { keeper }) => total + (keeper?.copiesMade ?? 0), 0),
    contexts: world.ledger.contexts.map((context) => ({
      contextId: world.contextId(context),
      bytes: world.contextBytes,
      ...world.ledger.shares(context),
    })),
    series: world.series.series,
    checks: verdicts(world),
  }
}

function jobResult(world: World, job: JobRun): JobResult {
  return {
    job: job.id,
    contextId: world.contextId(job.context),
    submittedAtS: job.submittedUs / 1e6,
    ...(job.endedUs === undefined ? {} : { endedAtS: job.endedUs / 1e6 }),
    inferences: job.workload.inferences,
    completed: job.committedInferences,
    ...(job.gaveUp === undefined ? {} : { gaveUp: job.gaveUp }),
  }
}

function peerResult(peer: Peer): PeerResult {
  const { id, device, group, larder, host, firstUpUs, firstResultUs } = peer
  return {
    peer: id,
    device: device.model,
    group,
    gpuS: gpuSeconds(peer),
    inferences: peer.inferences,
    sessions: peer.sessions,
    loads: peer.loadCount,
    fetches: larder.fetches,
    bytesReceived: Math.round(larder.received),
    bytesSent: Math.round(host.usedUploads?.bytesSent ?? 0),
    ...(firstUpUs === undefined || firstResultUs === undefined
      ? {}
      : { firstResultAfterS: (firstResultUs - firstUpUs) / 1e6 }),
  }
}

function gpuSeconds({ meter }: Peer): GpuSeconds {
  return {
    up: meter.upUs / 1e6,
    useful: meter.usefulUs / 1e6,
    load: meter.loadUs / 1e6,
    transfer: meter.transferUs / 1e6,
    wasted: Math.max(0, meter.busyUs - meter.usefulUs) / 1e6,
    idle: meter.idleUs / 1e6,
  }
}

/** Work that was lost, half computed or whole, in inferences of the mean length there. */
function wastedInferences({ meter, device }: Peer): number {
  const perInferenceUs = (device.inferenceS * 1e6) / device.slots
  return Math.max(0, meter.busyUs - meter.usefulUs) / perInferenceUs
}

function addUp(parts: readonly GpuSeconds[]): GpuSeconds {
  const total: GpuSeconds = { up: 0, useful: 0, load: 0, transfer: 0, wasted: 0, idle: 0 }
  for (const part of parts) {
    for (const key of Object.keys(total) as (keyof GpuSeconds)[]) total[key] += part[key]
  }
  return total
}

function verdicts(world: World): CheckVerdict[] {
  const { checks, jobs, peers, scenario } = world
  checkJobs(checks, jobs)
  checkGpuSeconds(checks, peers)
  const hosts = [world.origin, ...peers.map(({ host }) => host)]
  checkBytes(checks, {
    sent: hosts.reduce((total, host) => total + (host.usedUploads?.bytesSent ?? 0), 0),
    received: peers.reduce((total, { larder }) => total + larder.received, 0),
    counted: world.bytes.fromOrigin + world.bytes.fromPeers,
  })
  checkQuiet(world)
  const requests = jobs.reduce((total, job) => total + job.committedRequests, 0)
  const verdicts = [
    checks.verdict('nothing lost', `every job that ended has all of its lines`),
    checks.verdict('nothing committed twice', `${requests} requests, each with one line`),
    checks.verdict('GPU-seconds add up', `${peers.length} peers, by two accounts`),
    checks.verdict('bytes add up', 'what was sent was received'),
    checks.verdict('tiers truthful', 'nothing ran, or was advertised, that was not there'),
  ]
  if (scenario.peers.some(({ diskGB }) => diskGB !== undefined))
    verdicts.push(checks.verdict('quotas', 'no peer stored more than it may'))
  if (scenario.quiet !== undefined)
    verdicts.push(checks.verdict('done once it is quiet', 'all jobs ended in time'))
  return verdicts
}

function checkQuiet({ scenario, jobs, checks }: World): void {
  const { quiet } = scenario
  if (quiet === undefined) return
  const untilUs = (quiet.fromS + quiet.boundS) * 1e6
  for (const { id, hasFinished, endedUs } of jobs) {
    if (hasFinished && endedUs !== undefined && endedUs <= untilUs) continue
    checks.break('done once it is quiet', `${id} was not done ${quiet.boundS} s after churn had stopped`)
  }
}
