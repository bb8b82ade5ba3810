// A swarm of real peers in which one of three holders of a context is killed: how long until three have it again?
import { join } from 'node:path'
import { askPeer } from '../../src/api/control-client.ts'
import { HearthProcess } from '../../src/cli/terminal/child-process.ts'
import { DataFolder } from '../../src/node/home/data-folder.ts'
import { importUntried } from '../../testing/sharing-peers.ts'
import type { PeerReport } from '../../src/node/status/peer-status.ts'

export interface RepairRunOptions {
  /** For data folders; whoever calls removes it. */
  folder: string
  /** The model folder that the holders import. */
  model: string
  peers: number
  holders: number
  graceSeconds: number
  /** The upload cap of each peer; spare copies get a quarter of it. */
  uploadBytesPerSecond: number
}

interface Running {
  process: HearthProcess
  data: DataFolder
}

const READY_MS = 120_000
const LOOK_EVERY_MS = 100
const GIVEN_UP_MS = 600_000

/** Seconds from the kill to as many copies as before, each complete and on a peer that is up. */
export async function repairSeconds(options: RepairRunOptions): Promise<number> {
  const running: Running[] = []
  try {
    for (let index = 0; index < options.peers; index += 1) {
      const peer = await start(options, index, running[0])
      running.push(peer)
      await peer.process.event('ready', READY_MS)
    }
    const [victim, ...others] = running
    if (victim === undefined) throw new RangeError('a swarm of nobody')
    await until('all know one another', async () =>
      (await reportsOf(running)).every(({ connectedPeers }) => connectedPeers === options.peers - 1),
    )
    // A peer that has just joined makes no copies: its joining is over, and the first counts are in.
    await sleep(JOINED_AFTER_GRACES * options.graceSeconds * 1_000)
    victim.process.kill('SIGKILL')
    const beganMs = performance.now()
    await until(`${options.holders} copies`, async () => {
      const stored = (await reportsOf(others)).filter(({ contexts }) => contexts[0]?.tier === 'stored')
      return stored.length >= options.holders
    })
    return (performance.now() - beganMs) / 1_000
  } finally {
    for (const { process } of running) process.kill('SIGKILL')
    await Promise.all(running.map(({ process }) => process.exited))
  }
}

/** `joinAfterMs` over `graceMs` of REPLICATION_DEFAULTS, and a little more. */
const JOINED_AFTER_GRACES = 2.2

async function start(
  { folder, model, holders, graceSeconds, uploadBytesPerSecond }: RepairRunOptions,
  index: number,
  door: Running | undefined,
): Promise<Running> {
  const data = new DataFolder(join(folder, `peer-${index}`))
  if (index < holders) await importUntried(data.contextsPath, model, 'bench')
  const report = door === undefined ? undefined : await reportOf(door)
  const process = new HearthProcess([
    'up',
    '--data',
    data.path,
    '--listen',
    '/ip4/127.0.0.1/tcp/0',
    '--repair-after',
    String(graceSeconds),
    '--upload-rate',
    String(uploadBytesPerSecond),
    ...(report === undefined ? [] : ['--bootstrap', report.addresses[0] ?? '']),
  ])
  return { process, data }
}

async function reportOf({ data }: Running): Promise<PeerReport> {
  const access = data.control()
  if (access === undefined) throw new Error('a peer of the bench is gone')
  return await askPeer<PeerReport>(access, '/v0/status')
}

async function reportsOf(running: readonly Running[]): Promise<PeerReport[]> {
  return await Promise.all(running.map(reportOf))
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const beganMs = performance.now()
  while (!(await isSo())) {
    if (performance.now() - beganMs > GIVEN_UP_MS) throw new Error(`it did not come to: ${what}`)
    await sleep(LOOK_EVERY_MS)
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
