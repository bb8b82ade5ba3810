// The overheads of processes on this machine, measured in live runs for the simulator: base/live-machine.yaml.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDocument } from 'yaml'
import { SCENARIOS_FOLDER } from '../../sim/scenarios/load.ts'
import type { LinkCourse } from './job-log.ts'
import type { LivePeer } from './live-peer.ts'
import type { LiveResult } from './live-run.ts'

const FILE = join(SCENARIOS_FOLDER, 'base/live-machine.yaml')
/** The results of a link that are enough to compute its rate. */
const RESULTS_MIN = 20
/** The tail of a job, in which peers wait for one another, tells nothing of what a request takes. */
const BEFORE_TAIL = 0.9

/** By their paths in a scenario. */
export type MachineTimes = Record<
  'shell.startUpS' | 'shell.hostStartS' | 'shell.requestMs' | 'dht.publishS',
  number
>

/** The median of what was measured in these runs. Throws when a run shows none of something. */
export function measureMachine(runs: readonly LiveResult[]): MachineTimes {
  const links = runs.flatMap((run) => run.course.links.map((link) => ({ run, link })))
  return {
    'shell.startUpS': median(
      runs.flatMap(({ peers }) => peers.flatMap(({ starts }) => starts)),
      ({ startedAtMs, readyAtMs }) => (readyAtMs - startedAtMs) / 1000,
    ),
    'shell.hostStartS': median(links, ({ run, link }) => {
      const loadS = peerOf(run, link)?.plan.device.loadS
      return link.loadS === undefined || loadS === undefined ? undefined : link.loadS - loadS
    }),
    'shell.requestMs': median(links, ({ run, link }) => requestMs(run, link)),
    'dht.publishS': median(runs, foundAfterS),
  }
}

/** As settings of a simulated run. */
export function settingsOf(times: MachineTimes): string[] {
  return Object.entries(times).map(([path, value]) => `${path}=${value}`)
}

/** Writes them into the scenario that all live ones extend. */
export function saveMachine(times: MachineTimes): void {
  const document = parseDocument(readFileSync(FILE, 'utf8'))
  for (const [path, value] of Object.entries(times)) document.setIn(path.split('.'), value)
  writeFileSync(FILE, document.toString())
}

function peerOf({ peers }: LiveResult, link: LinkCourse): LivePeer | undefined {
  return peers.find(({ starts }) => starts.some(({ peerId }) => peerId === link.peer))
}

/** A request's time outside the model, by the rate of a link with no empty slot. */
function requestMs(run: LiveResult, link: LinkCourse): number | undefined {
  const device = peerOf(run, link)?.plan.device
  const results = link.resultsAtS.filter((atS) => atS < BEFORE_TAIL * run.course.makespanS)
  if (device === undefined || results.length < RESULTS_MIN) return undefined
  const overS = (results.at(-1) ?? 0) - (results[0] ?? 0)
  return 1000 * ((device.slots * overS) / (results.length - device.slots) - device.inferenceS)
}

/** From a peer that came up while the job ran to the submitter's first attempt to reach it. */
function foundAfterS({ peers, beganAtMs, course }: LiveResult): number[] {
  const upS = peers.flatMap(({ starts }) =>
    starts.map(({ peerId, readyAtMs }) => ({ peerId, atS: (readyAtMs - beganAtMs) / 1000 })),
  )
  return upS.flatMap(({ peerId, atS }) => {
    if (atS < 0) return []
    const link = course.links.find(({ peer, askedAtS }) => peer === peerId && askedAtS >= atS - 1)
    return link === undefined ? [] : Math.max(0, link.askedAtS - atS)
  })
}

function median<T>(of: readonly T[], measure: (one: T) => number | readonly number[] | undefined): number {
  const values = of.flatMap((one) => measure(one) ?? []).sort((left, right) => left - right)
  const value = values[Math.floor((values.length - 1) / 2)]
  if (value === undefined) throw new Error('a live run in which nothing could be measured')
  return Math.round(value * 1000) / 1000
}
