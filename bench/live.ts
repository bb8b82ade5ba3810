// Compares the simulator with real peers: the same scenarios on eight real processes and simulated. Not in
// sim/, which drives cores and never a process; here are the parts that start and end `hearth` commands.
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { loadScenario } from '../sim/scenarios/load.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric } from './support/harness.ts'
import { coldStarts, errorsOf, simulateBeside, type Beside } from './live/beside.ts'
import { runLive, type LiveResult } from './live/live-run.ts'
import { measureMachine, saveMachine, settingsOf, type MachineTimes } from './live/machine.ts'
import { writeLivePage } from './live/page.ts'

const SEED = 1
const PAGE = join('out', 'live', 'report.html')
/** The first two measure the times of this machine's processes; the others are predicted with them. */
const FITTED = ['live-static', 'live-churn']
const PREDICTED = ['live-drain', 'live-storm']
/** Part of the work with --quick. */
const QUICK_SHARE = 0.15

class Comparison {
  readonly #options: BenchOptions
  readonly #live = new Map<string, LiveResult>()

  constructor(options: BenchOptions) {
    this.#options = options
  }

  async run(): Promise<Metric[]> {
    const { only, note, isSaving } = this.#options
    const names = [...FITTED, ...PREDICTED].filter((name) => only === undefined || name.includes(only))
    for (const name of names) await this.#runLive(name)
    const measured = FITTED.flatMap((name) => this.#live.get(name) ?? [])
    const times = measured.length === FITTED.length ? measureMachine(measured) : undefined
    if (times !== undefined) note(`this machine: ${settingsOf(times).join(' ')}`)
    if (times !== undefined && isSaving) saveMachine(times)
    const runs = new Map(names.map((name) => [name, this.#simulate(name, times)]))
    await writeLivePage(runs, PAGE)
    note(`The page is ${PAGE}`)
    return [...runs].flatMap(([name, beside]) => metricsOf(name, beside))
  }

  async #runLive(name: string): Promise<void> {
    const { scenario } = loadScenario(name, this.#settings(name))
    const result = await runLive(scenario, SEED)
    this.#live.set(name, result)
    const [, load = 0] = loadavg()
    this.#options.note(
      `${name}, live: ${result.course.makespanS.toFixed(1)} s, with ${load.toFixed(1)} processes at work on average`,
    )
  }

  /** Without times of this machine: with those that were measured last. */
  #simulate(name: string, times: MachineTimes | undefined): Beside {
    const settings = [...this.#settings(name), ...(times === undefined ? [] : settingsOf(times))]
    const beside = simulateBeside(this.#live.get(name) as LiveResult, {
      scenario: name,
      settings,
      seed: SEED,
    })
    const { live, simulated } = beside
    const said = [live, simulated].map(
      (course) =>
        `${course.makespanS.toFixed(1)} s, ${coldStarts(course)} cold starts, ${(course.bytes / 1e6).toFixed(1)} MB`,
    )
    this.#options.note(`${name}: live ${said.join('; simulated ')}`)
    return beside
  }

  #settings(name: string): string[] {
    if (!this.#options.quick) return []
    const inferences = loadScenario(name).scenario.jobs[0]?.inferences ?? 0
    return [`jobs.0.inferences=${Math.round(QUICK_SHARE * inferences)}`]
  }
}

/** How far off the simulation is, up or down. */
function metricsOf(name: string, beside: Beside): Metric[] {
  const { makespan, bytes, coldStarts: starts, curve } = errorsOf(beside)
  const kind = FITTED.includes(name) ? 'fitted' : 'predicted'
  const off = (what: string, unit: string, value: number, bound?: number): Metric =>
    metricOf(
      {
        name: `${name} (${kind}): ${what}`,
        unit,
        better: 'lower',
        ...(bound === undefined ? {} : { bound }),
      },
      [Math.abs(value)],
    )
  return [
    off('makespan off by', '%', 100 * makespan, 10),
    off('cold starts off by', '', starts, 1),
    off('bytes fetched off by', '%', 100 * bytes, 5),
    off('work done by any moment off by at most', '%', 100 * curve),
  ]
}

const bench: Bench = {
  question: 'Does the simulator tell what eight real peers do? (25 min)',
  run: async (options) => await new Comparison(options).run(),
}
export default bench
