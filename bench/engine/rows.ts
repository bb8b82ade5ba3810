// A row of the engine's bench: figures that are measured together, some runs of it after one another.
import type { BenchOptions } from '../support/bench.ts'
import type { Wanted } from '../support/harness.ts'
import type { BenchModels } from './models.ts'

export interface RowContext {
  models: BenchModels
  options: BenchOptions
  folder: string
}

export interface Row {
  wanted: readonly Wanted[]
  /** Prepares what is measured; undefined when it cannot be had here, which it has noted. */
  open(context: RowContext): Promise<OpenRow | undefined>
}

export interface OpenRow {
  /** One run: a value for each of the row's figures. */
  measure(): Promise<number[]>
  close(): Promise<void>
}

export const atLeast = (name: string, bound: number, toward?: number): Wanted => ({
  name,
  unit: '×',
  better: 'higher',
  bound,
  ...(toward === undefined ? {} : { toward }),
})

/** The ratio of a program that reaches the bound of the machine. */
export const atTheBound = (name: string): Wanted => ({
  name: `${name}, at the machine's bound`,
  unit: '×',
  better: 'higher',
})

/** A share of the machine's bound; no goal is set for it. */
export const shareOfBound = (name: string): Wanted => ({
  name: `${name}, of the machine's bound`,
  unit: '',
  better: 'higher',
})
