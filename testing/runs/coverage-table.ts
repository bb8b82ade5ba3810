import { dirname } from 'node:path'

/** The number of items, and how many of them ran. */
export interface Covered {
  total: number
  covered: number
}

/** One file's entry in istanbul's json-summary. */
export interface FileCoverage {
  path: string
  lines: Covered
  branches: Covered
}

/** One line a folder: the shares of its lines and branches that ran; the total last. */
export function coverageLines(files: readonly FileCoverage[]): string[] {
  const folders = [...Map.groupBy(files, ({ path }) => dirname(path))].sort(([a], [b]) => (a < b ? -1 : 1))
  return [
    ' lines  branches  folder',
    ...folders.map(([folder, inside]) => lineOf(folder, inside)),
    lineOf('all cores', files),
  ]
}

function lineOf(name: string, files: readonly FileCoverage[]): string {
  const lines = shareOf(files.map((file) => file.lines))
  const branches = shareOf(files.map((file) => file.branches))
  return `${lines.padStart(6)}  ${branches.padStart(8)}  ${name}`
}

function shareOf(counts: readonly Covered[]): string {
  const total = counts.reduce((sum, count) => sum + count.total, 0)
  const covered = counts.reduce((sum, count) => sum + count.covered, 0)
  return total === 0 ? '-' : `${((100 * covered) / total).toFixed(1)}%`
}
