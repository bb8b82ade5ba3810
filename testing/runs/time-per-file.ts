import type { Reporter, TestModule } from 'vitest/node'

const SLOWEST = 10
/** The time budget of one file of a project, s. */
const BUDGET_SECONDS: Readonly<Record<string, number>> = { unit: 30, e2e: 60 }

/** How long the tests of one file took, hooks and imports counted. */
export interface FileTime {
  project: string
  path: string
  seconds: number
}

/** The slowest files, then each file that took more than its project's budget. */
export function timeLines(files: readonly FileTime[]): string[] {
  const slowest = files.toSorted((a, b) => b.seconds - a.seconds || (a.path < b.path ? -1 : 1))
  const over = slowest.filter(({ project, seconds }) => seconds > budgetOf(project))
  return [
    'Slowest test files:',
    ...slowest.slice(0, SLOWEST).map((file) => `  ${file.seconds.toFixed(1).padStart(6)} s  ${file.path}`),
    ...over.map(
      ({ path, project, seconds }) =>
        `Over budget: ${path} took ${seconds.toFixed(1)} s, and ${project} files have ${budgetOf(project)} s; split it or make it quicker`,
    ),
  ]
}

function budgetOf(project: string): number {
  return BUDGET_SECONDS[project] ?? Number.POSITIVE_INFINITY
}

/** Prints the time of test files after a run. */
export class TimePerFile implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    if (modules.length < 2) return
    console.log(timeLines(modules.map(timeOf)).join('\n'))
  }
}

function timeOf(module: TestModule): FileTime {
  const { duration, setupDuration, collectDuration } = module.diagnostic()
  return {
    project: module.project.name,
    path: module.relativeModuleId,
    seconds: (duration + setupDuration + collectDuration) / 1000,
  }
}
