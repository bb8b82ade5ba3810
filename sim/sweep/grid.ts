import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { HearthError } from '../../src/base/errors.ts'
import { at, readSource, type Source } from '../scenarios/yaml-source.ts'

/** More runs than anybody meant. */
export const COMBINATIONS_MAX = 10_000

/** The varied settings of a scenario: the path of each setting, with its values. */
export interface Grid {
  scenario: string
  /** In order: the last varies fastest. */
  vary: [key: string, values: string[]][]
  reps?: number | undefined
  seed?: number | undefined
}

const gridSchema = z.strictObject({
  scenario: z.string(),
  reps: z.int().min(1).optional(),
  seed: z.int().min(0).optional(),
  set: z.record(z.string(), z.unknown()).default({}),
  vary: z.record(z.string(), z.array(z.unknown()).min(1)),
})

/** The grid of a command line, or of a file that says `vary`; settings of the command line come after its own. */
export function gridOf(scenarioOrFile: string, settings: readonly string[]): Grid {
  const file = readGrid(scenarioOrFile)
  const grid: Grid = file ?? { scenario: scenarioOrFile, vary: [] }
  const own = new Map(settings.map(valuesOf))
  const vary = [...grid.vary.filter(([key]) => !own.has(key)), ...own]
  if (!vary.some(([, values]) => values.length > 1)) {
    throw new HearthError(
      'usage',
      'The sweep varies no setting. Give a list of values, such as --set batch=10,100,1000, or a file with `vary`',
    )
  }
  return { ...grid, vary }
}

/** The settings of each combination, as `hearth sim run --set` takes them. */
export function combinationsOf({ vary }: Grid): string[][] {
  const count = vary.reduce((product, [, values]) => product * values.length, 1)
  if (count > COMBINATIONS_MAX) {
    throw new HearthError(
      'usage',
      `${count} combinations are more than the limit of ${COMBINATIONS_MAX}. Vary fewer settings or values`,
    )
  }
  let combinations: string[][] = [[]]
  for (const [key, values] of vary)
    combinations = combinations.flatMap((before) => values.map((value) => [...before, `${key}=${value}`]))
  return combinations
}

/** `key=v1,v2`: commas within brackets, braces and quotes do not part values, as in YAML. */
function valuesOf(setting: string): [string, string[]] {
  const [, key, text] = /^([^=]+)=(.*)$/s.exec(setting) ?? []
  if (key === undefined || text === undefined || text === '') {
    throw new HearthError('usage', `--set takes key=value or key=value,value,…, and "${setting}" is not that`)
  }
  return [key, listIn(text).map(textOf)]
}

function listIn(text: string): unknown[] {
  try {
    return parse(`[${text}]`) as unknown[]
  } catch {
    return [text]
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function readGrid(path: string): Grid | undefined {
  if (!/\.ya?ml$/.test(path) || !existsSync(path)) return undefined
  const source = readSource(resolve(path))
  if (!source.document.has('vary')) return undefined
  const parsed = gridSchema.safeParse(source.document.toJS())
  if (!parsed.success) throw invalid(parsed.error, source)
  const { scenario, reps, seed, set, vary } = parsed.data
  const fixed = Object.entries(set).map(([key, value]): [string, string[]] => [key, [textOf(value)]])
  const varied = Object.entries(vary).map(([key, values]): [string, string[]] => [key, values.map(textOf)])
  return { scenario: beside(source.file, scenario), vary: [...fixed, ...varied], reps, seed }
}

/** A scenario's file is named from the grid's folder. */
function beside(gridFile: string, scenario: string): string {
  const file = resolve(dirname(gridFile), scenario)
  return existsSync(file) ? file : scenario
}

function invalid(error: z.ZodError, source: Source): HearthError {
  const [issue] = error.issues
  const keys = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []
  const path = [...(issue?.path ?? []).map(String), ...keys]
  return new HearthError('scenario-invalid', `${at(source, path)}: ${path.join('.')}: ${issue?.message}`)
}
