import { readFileSync } from 'node:fs'
import { HearthError } from '../../src/base/errors.ts'
import type { ChurnEvent, ChurnSource } from '../churn/churn-events.ts'
import type { Streams } from '../churn/churn-model.ts'
import { FleetChurn } from '../churn/fleet-churn.ts'
import type { RandomStreams } from '../kernel/random-streams.ts'
import { churnModelOf, type Churn } from '../scenarios/churn-schema.ts'
import type { PeerGroup } from '../scenarios/schema.ts'
import { readTrace } from '../traces/formats.ts'
import { TraceChurn } from '../traces/trace-churn.ts'

/** Events that are known beforehand, in order of time. */
class ListedChurn implements ChurnSource {
  readonly #events: ChurnEvent[]
  #at = 0

  constructor(events: ChurnEvent[]) {
    this.#events = events.sort((left, right) => left.atMs - right.atMs)
  }

  next(): ChurnEvent | undefined {
    return this.#events[this.#at++]
  }
}

/** The churn of a group: a trace, or a model. Throws `scenario-invalid` with the line of the trace. */
function churnOf(churn: Churn, peers: number, streams: Streams): ChurnSource {
  if (churn.trace === undefined) return new FleetChurn(churnModelOf(churn), peers, streams)
  const { trace: file } = churn
  return new TraceChurn(readTrace(readFileSync(file, 'utf8'), { random: streams(0, 'trace'), file }))
}

/** When the peers of a group join and leave. */
export function churnOfGroup(group: PeerGroup, streams: RandomStreams): ChurnSource {
  if (group.churn === undefined) return plainChurn(group)
  return churnOf(group.churn, group.count, (entity, purpose) =>
    streams.of(`${group.name}/${entity}`, purpose),
  )
}

/** A group without churn: its peers come one by one, and stay or leave one by one. */
function plainChurn(group: PeerGroup): ChurnSource {
  const events: ChurnEvent[] = []
  const { count, joinAtS, joinOverS, leave } = group
  for (let peer = 0; peer < count; peer += 1) {
    const joinS = joinAtS + (joinOverS * peer) / Math.max(1, count - 1)
    events.push({ kind: 'up', atMs: Math.round(joinS * 1000), peer, isDiskKept: true })
    if (leave === undefined) continue
    const leaveMs = Math.round((leave.fromS + leave.everyS * peer) * 1000)
    if (leave.noticeS > 0)
      events.push({ kind: 'notice', atMs: leaveMs - leave.noticeS * 1000, peer, downAtMs: leaveMs })
    events.push({ kind: 'down', atMs: leaveMs, peer, cause: 'owner', isForEver: true })
  }
  return new ListedChurn(events)
}

/**
 * Peers that come and go so that as many are up as the CSV says, which has the columns `t_s` and `workers`:
 * in the order given; who came last goes first. A curve read off a figure trembles: it is followed down only
 * from 1.5 workers on. Throws `scenario-invalid` with the line.
 */
export function joinsChurn(file: string, order: readonly number[]): ChurnSource {
  const events: ChurnEvent[] = []
  const up: number[] = []
  let joined = 0
  for (const { atS, workers } of readJoins(file)) {
    const atMs = Math.round(atS * 1000)
    while (up.length + 0.5 <= workers) {
      const peer = order[joined++]
      if (peer === undefined) {
        throw new HearthError(
          'scenario-invalid',
          `${file}: at ${atS} s so many peers have come that the scenario's ${order.length} are used up; give its groups more`,
        )
      }
      up.push(peer)
      events.push({ kind: 'up', atMs, peer, isDiskKept: false })
    }
    if (workers > up.length - 1.5) continue
    while (up.length - 0.5 > workers) {
      const peer = up.pop() as number
      events.push({ kind: 'down', atMs, peer, cause: 'preempted', isForEver: true })
    }
  }
  return new ListedChurn(events)
}

function readJoins(file: string): { atS: number; workers: number }[] {
  const lines = readFileSync(file, 'utf8').split(/\r?\n/)
  const rows: { atS: number; workers: number }[] = []
  let columns: string[] | undefined
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const cells = line.split(',').map((cell) => cell.trim())
    if (columns === undefined) {
      columns = cells
      if (cells.includes('t_s') && cells.includes('workers')) continue
      throw new HearthError(
        'scenario-invalid',
        `${file}:${index + 1}: the first line must name the columns, t_s and workers among them`,
      )
    }
    const atS = Number(cells[columns.indexOf('t_s')])
    const workers = Number(cells[columns.indexOf('workers')])
    if (!(atS >= 0) || !(workers >= 0) || atS < (rows.at(-1)?.atS ?? 0)) {
      throw new HearthError(
        'scenario-invalid',
        `${file}:${index + 1}: "${line}" is not a time, not before the last, and a number of workers`,
      )
    }
    rows.push({ atS, workers })
  }
  return rows
}
