import type { Metric } from './harness.ts'

/** One question about Hearth, answered by figures: what a file of this folder exports by default. */
export interface Bench {
  /** The question that the figures answer. */
  question: string
  run: (options: BenchOptions) => Promise<Metric[]>
}

export interface BenchOptions {
  /** Small and short: shows that the bench works, and nothing more. */
  quick: boolean
  /** How often each figure is measured; its median counts. */
  runs: number
  /** Part of the name of the figures wanted; all of them without it. */
  only: string | undefined
  /** The figures are to be kept, and what is measured for others to use, too. */
  isSaving: boolean
  /** Says what is done now. */
  note: (line: string) => void
}
