import { seededRandom } from '../../../src/base/random.ts'
import {
  RUN_RESULT_VERSION,
  type ParameterValue,
  type PeerResult,
  type RunResult,
} from '../../../sim/runs/result/run-result.ts'

/** A run as the simulator would leave it, with made-up curves: what reports are tried on. */
export function madeUpRun(changes: {
  scenario?: string
  title?: string
  seed?: number
  parameters?: Record<string, ParameterValue>
  makespanS?: number
  peers?: number
  codeHash?: string
}): RunResult {
  const {
    scenario = 'static',
    title = 'Ten peers.',
    seed = 1,
    parameters = {},
    makespanS = 800,
    peers = 20,
    codeHash = 'c0de',
  } = changes
  const random = seededRandom(seed)
  const total = 10_000
  const stepS = 5
  const times = Array.from({ length: Math.ceil(makespanS / stepS) + 1 }, (_, index) => index * stepS)
  const lags = Array.from({ length: peers }, () => 60 + 80 * random.next())
  const done = (timeS: number): number =>
    timeS >= makespanS
      ? total
      : Math.floor(total * Math.max(0, 1 - (1 - timeS / makespanS) ** 1.4 - 60 / makespanS))
  const up = peers * makespanS
  const gpuS = {
    up,
    useful: 0.55 * up,
    load: 0.12 * up,
    transfer: 0.13 * up,
    wasted: 0.05 * up,
    idle: 0.15 * up,
  }
  return {
    version: RUN_RESULT_VERSION,
    scenario,
    title,
    seed,
    parameters,
    scenarioHash: JSON.stringify(parameters),
    codeHash,
    node: 'v24.21.0',
    wallS: 1,
    events: 123_456,
    eventHash: 'abcdef0123456789',
    isComplete: true,
    makespanS,
    work: { total, completed: total, wasted: 500, failed: 0 },
    jobs: [
      { job: 'a', contextId: 'c', submittedAtS: 0, endedAtS: makespanS, inferences: total, completed: total },
    ],
    peers: lags.map((firstResultAfterS, index) => peerResult(index, firstResultAfterS, gpuS, peers)),
    gpuS,
    tasks: { count: total, meanS: 1, sdS: 0.2, minS: 0.5, p50S: 1, p95S: 1.4, p99S: 1.8, maxS: 3 },
    bytes: { fromOrigin: 3.7e9, fromPeers: 3.7e9 * (peers - 1), wasted: 1e8, forCopies: 0 },
    faults: { corruptChunks: 0, bans: 0 },
    copiesMade: 0,
    contexts: [{ contextId: 'c', bytes: 3.7e9, availability: 0.99, meanReplicas: 5 }],
    series: {
      stepS,
      timeS: times,
      livePeers: times.map((timeS) => Math.min(peers, Math.floor(timeS / 10))),
      readyPeers: times.map((timeS) => lags.filter((lag, index) => timeS > lag + 10 * index).length),
      completed: times.map(done),
      replicas: times.map(() => 3),
      bytesFromOrigin: times.map(() => 3.7e9),
      bytesFromPeers: times.map((timeS) => timeS * 1e8),
    },
    checks: [{ check: 'nothing is lost', holds: true, detail: '' }],
  }
}

function peerResult(
  index: number,
  firstResultAfterS: number,
  gpuS: RunResult['gpuS'],
  peers: number,
): PeerResult {
  const part = 1 / peers
  return {
    peer: `peer-${index}`,
    device: 'A10',
    group: 'all',
    gpuS: {
      up: gpuS.up * part,
      useful: gpuS.useful * part,
      load: gpuS.load * part,
      transfer: gpuS.transfer * part,
      wasted: gpuS.wasted * part,
      idle: gpuS.idle * part,
    },
    inferences: 500,
    sessions: 1,
    loads: 1,
    fetches: 1,
    bytesReceived: 3.7e9,
    bytesSent: 3.7e9,
    firstResultAfterS,
  }
}
