import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { EventSink } from '../../src/base/log/event-log.ts'
import { JOB_LOG_SCHEMA } from '../../src/tasks/submitter/core/coordinator-events.ts'
import type { RunResult, Series } from './result/run-result.ts'
import type { Task } from '../world/task-recorder.ts'

const LINES_WAITING_MAX = 4096

/** The files of one run. */
export class OutputFolder {
  readonly #path: string
  #events: number | undefined
  #lines: string[] = []

  constructor(path: string) {
    this.#path = path
    mkdirSync(path, { recursive: true })
  }

  /** Where a job's events go: events.ndjson, as a peer writes it; the first job only, whose log it is. */
  eventsOf(jobId: string, requests: number, nowMs: () => number): EventSink {
    if (this.#events !== undefined) return { add: () => {} }
    this.#events = openSync(join(this.#path, 'events.ndjson'), 'w')
    this.#push({ schema: { ...JOB_LOG_SCHEMA, jobId, requests }, openedAt: 0 })
    return { add: (event) => this.#push({ t: Math.round(nowMs() * 10) / 10, ...event }) }
  }

  /** run.json comes last: where it is, all is. Without `tasks` there is no tasks.csv. */
  write(result: RunResult, tasks: Iterable<Task> | undefined, peerName: (peer: number) => string): void {
    writeFileSync(join(this.#path, 'series.csv'), seriesText(result.series))
    if (tasks !== undefined) writeFileSync(join(this.#path, 'tasks.csv'), tasksText(result, tasks, peerName))
    this.#flush()
    if (this.#events !== undefined) closeSync(this.#events)
    writeFileSync(join(this.#path, 'run.json'), `${JSON.stringify(result, null, 2)}\n`)
  }

  #push(line: object): void {
    this.#lines.push(JSON.stringify(line))
    if (this.#lines.length >= LINES_WAITING_MAX) this.#flush()
  }

  #flush(): void {
    if (this.#events === undefined || this.#lines.length === 0) return
    writeSync(this.#events, `${this.#lines.join('\n')}\n`)
    this.#lines = []
  }
}

function seriesText({ stepS: _stepS, ...columns }: Series): string {
  const names = Object.keys(columns) as (keyof typeof columns)[]
  const rows = columns.timeS.map((_, row) => names.map((name) => columns[name][row]).join(','))
  return `${[names.join(','), ...rows].join('\n')}\n`
}

function tasksText(result: RunResult, tasks: Iterable<Task>, peerName: (peer: number) => string): string {
  const rows: string[] = []
  for (const { job, n, peer, startedUs, endedUs, ranUs, committedUs } of tasks) {
    const times = [startedUs, endedUs, committedUs].map((us) => us / 1e6)
    rows.push([result.jobs[job]?.job, n, peerName(peer), ...times, ranUs / 1e6].join(','))
  }
  return `${['job,n,peer,startedS,endedS,committedS,gpuS', ...rows].join('\n')}\n`
}
