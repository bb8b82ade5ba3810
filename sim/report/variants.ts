import type { ParameterValue, RunResult } from '../runs/result/run-result.ts'

/** Runs that differ by their seed alone. */
export interface Variant {
  /** The settings that differ from the other variants of the report. */
  label: string
  parameters: Readonly<Record<string, ParameterValue>>
  /** Keyed by seed. */
  runs: RunResult[]
}

/** The runs of a report by what was run, in the order in which they are first seen. */
export function variantsOf(runs: readonly RunResult[]): Variant[] {
  const groups = Map.groupBy(runs, (run) => `${run.scenario} ${run.scenarioHash}`)
  const firsts = [...groups.values()].flatMap(([first]) => (first === undefined ? [] : [first]))
  const varying = varyingParameters(firsts)
  const hasScenarios = new Set(firsts.map(({ scenario }) => scenario)).size > 1
  return [...groups.values()].flatMap((group) => {
    const sorted = group.toSorted((a, b) => a.seed - b.seed)
    const [first] = sorted
    if (first === undefined) return []
    return { label: labelOf(first, varying, hasScenarios), parameters: first.parameters, runs: sorted }
  })
}

/** The parameters that do not have one value in all the runs, by name. */
export function varyingParameters(runs: readonly Pick<RunResult, 'parameters'>[]): string[] {
  const names = [...new Set(runs.flatMap(({ parameters }) => Object.keys(parameters)))].sort()
  return names.filter((name) => new Set(runs.map(({ parameters }) => parameters[name])).size > 1)
}

/** The last part of a setting's path says enough: "peers.0.churn.stretch" is the stretch. */
export function wordOf(parameter: string): string {
  return parameter.split('.').at(-1) ?? parameter
}

function labelOf(run: RunResult, varying: readonly string[], hasScenarios: boolean): string {
  const set = varying.filter((name) => run.parameters[name] !== undefined)
  const values = set.map((name) => `${wordOf(name)} ${run.parameters[name]}`)
  const parts = hasScenarios || values.length === 0 ? [run.scenario, ...values] : values
  return parts.join(', ')
}
