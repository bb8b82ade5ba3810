import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { parse } from 'yaml'
import type { ZodError } from 'zod'
import { HearthError } from '../../src/base/errors.ts'
import type { ParameterValue } from '../runs/result/run-result.ts'
import { scenarioSchema, type Scenario } from './schema.ts'
import { at, ownerOf, readSource, type Source } from './yaml-source.ts'

export const SCENARIOS_FOLDER: string = import.meta.dirname

/** Settings that name files: given with --set, they count from where the command runs. */
const FILE_KEY = /^joins$|\.churn\.trace$/

export interface LoadedScenario {
  name: string
  scenario: Scenario
  /** The settings that --set changed. */
  parameters: Record<string, ParameterValue>
  /** sha-256 of the scenario after --set, and of the files it names. */
  hash: string
}

/**
 * Reads a scenario: the name of a shipped one, or a path. `settings` are `key=value`, where a key may be a
 * path, as `dht.staleS=30` or `peers.0.count=40`. Throws `scenario-invalid` with the file and the line.
 */
export function loadScenario(nameOrPath: string, settings: readonly string[] = []): LoadedScenario {
  const sources = readSources(pathOf(nameOrPath))
  const [first] = sources as [Source]
  const raw = sources.reduceRight<unknown>((base, { document }) => merge(base, document.toJS()), {}) as object
  resolveFiles(raw, (path) => dirname((ownerOf(sources, path) ?? first).file))
  const parameters = applySettings(raw, settings)
  const parsed = scenarioSchema.safeParse(raw)
  if (!parsed.success) throw invalid(parsed.error, sources, parameters)
  const scenario = parsed.data
  checkNames(scenario, sources)
  checkFaults(scenario, sources)
  const hash = createHash('sha256').update(JSON.stringify({ ...scenario, files: filesOf(scenario) }))
  return { name: basename(first.file, '.yaml'), scenario, parameters, hash: hash.digest('hex') }
}

function pathOf(nameOrPath: string): string {
  const shipped = join(SCENARIOS_FOLDER, `${nameOrPath}.yaml`)
  if (existsSync(shipped)) return shipped
  if (existsSync(nameOrPath)) return resolve(nameOrPath)
  throw new HearthError(
    'scenario-invalid',
    `No scenario is named "${nameOrPath}". Run \`hearth sim list\` for the names, or give the path of a YAML file`,
  )
}

/** The file, and those that it extends, one after the other; `above` are those that extend it. */
function readSources(file: string, above: readonly string[] = []): Source[] {
  const source = readSource(file)
  const base = source.document.get('extends')
  if (typeof base !== 'string') return [source]
  const files = [...above, file]
  const found = baseOf(file, base)
  if (found === undefined) {
    throw new HearthError(
      'scenario-invalid',
      `${at(source, ['extends'])}: no file beside it and no shipped scenario is named "${base}", which it extends. Run \`hearth sim list\` for the names`,
    )
  }
  if (files.includes(found)) {
    throw new HearthError(
      'scenario-invalid',
      `${at(source, ['extends'])}: the scenario extends itself: ${[...files, found].join(' → ')}`,
    )
  }
  return [source, ...readSources(found, files)]
}

/** A file counts from the one that extends it, with or without its ending; then come the shipped scenarios. */
function baseOf(file: string, base: string): string | undefined {
  const beside = resolve(dirname(file), base)
  const candidates = [`${beside}.yaml`, beside, join(SCENARIOS_FOLDER, `${base}.yaml`)]
  return candidates.find((one) => existsSync(one) && statSync(one).isFile())
}

/** `over` wins; objects are merged, all else is replaced. */
function merge(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over
  const merged: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(over)) merged[key] = key in base ? merge(base[key], value) : value
  return merged
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The parts of an unchecked scenario that name files. */
interface RawFiles {
  joins?: unknown
  peers?: { churn?: { trace?: unknown } }[]
}

/** Names of files count from the file that says them. */
function resolveFiles(raw: RawFiles, folderOf: (path: string[]) => string): void {
  if (typeof raw.joins === 'string') raw.joins = resolve(folderOf(['joins']), raw.joins)
  if (!Array.isArray(raw.peers)) return
  for (const group of raw.peers) {
    const { churn } = group
    if (typeof churn?.trace === 'string') churn.trace = resolve(folderOf(['peers']), churn.trace)
  }
}

function applySettings(raw: object, settings: readonly string[]): Record<string, ParameterValue> {
  const parameters: Record<string, ParameterValue> = {}
  for (const setting of settings) {
    const [, key, text] = /^([^=]+)=(.*)$/s.exec(setting) ?? []
    if (key === undefined || text === undefined) {
      throw new HearthError('usage', `--set takes key=value, and "${setting}" is not that`)
    }
    const value = parse(text) as unknown
    parameters[key] = typeof value === 'object' ? text : (value as ParameterValue)
    put(raw, key, FILE_KEY.test(key) ? resolve(text) : value)
  }
  return parameters
}

function put(raw: object, key: string, value: unknown): void {
  const path = key.split('.')
  const last = path.pop() as string
  let at = raw as Record<string, unknown>
  for (const part of path) {
    at[part] ??= {}
    if (typeof at[part] !== 'object' || at[part] === null) {
      throw new HearthError('scenario-invalid', `--set ${key}: "${part}" is not a part of the scenario`)
    }
    at = at[part] as Record<string, unknown>
  }
  at[last] = value
}

function invalid(error: ZodError, sources: Source[], parameters: object): HearthError {
  const problems = error.issues.slice(0, 8).map((issue) => {
    const keys = issue.code === 'unrecognized_keys' ? issue.keys : []
    const path = [...issue.path.map(String), ...keys.slice(0, 1)]
    const set = Object.keys(parameters).find((key) => path.join('.').startsWith(key))
    const where = set === undefined ? at(ownerOf(sources, path) ?? sources[0], path) : `--set ${set}`
    return `${where}: ${path.join('.')}: ${issue.message}`
  })
  return new HearthError('scenario-invalid', problems.join('\n'))
}

/** Checks that the schema cannot express: names must refer to existing parts. */
function checkNames(scenario: Scenario, sources: Source[]): void {
  for (const [index, { device, name }] of scenario.peers.entries()) {
    const wanted = typeof device === 'string' ? [device] : Object.keys(device)
    for (const model of wanted) {
      if (scenario.devices[model] !== undefined) continue
      const path = ['peers', String(index), 'device']
      throw new HearthError(
        'scenario-invalid',
        `${at(ownerOf(sources, path), path)}: group "${name}" has the device "${model}", which \`devices\` does not list`,
      )
    }
  }
  for (const [index, { context }] of scenario.jobs.entries()) {
    if (context === 'zipf' || context < scenario.contexts.count) continue
    const path = ['jobs', String(index), 'context']
    throw new HearthError(
      'scenario-invalid',
      `${at(ownerOf(sources, path), path)}: there is no context ${context}: \`contexts.count\` is ${scenario.contexts.count}`,
    )
  }
}

/** Faults are of groups that there are, and over when all is to be quiet. */
function checkFaults({ partitions, bootstrapLoss, peers, quiet }: Scenario, sources: Source[]): void {
  const names = new Set(peers.map(({ name }) => name))
  const refuse = (path: string[], words: string): never => {
    throw new HearthError('scenario-invalid', `${at(ownerOf(sources, path), path)}: ${words}`)
  }
  for (const [index, { groups = [] }] of partitions.entries()) {
    const unknown = groups.find((name) => !names.has(name))
    if (unknown === undefined) continue
    const known = [...names].join(', ')
    refuse(
      ['partitions', String(index), 'groups'],
      `there is no group "${unknown}" to cut off: there are ${known}`,
    )
  }
  for (const [key, faults] of Object.entries({ partitions, bootstrapLoss })) {
    const late = faults.findIndex(({ untilS }) => quiet !== undefined && untilS > quiet.fromS)
    if (late < 0) continue
    const words = `it is to end by ${quiet?.fromS} s, from when all is to be quiet`
    refuse([key, String(late), 'untilS'], words)
  }
}

/** The texts of the files that it names, so that a changed file is another scenario. */
function filesOf({ joins, peers }: Scenario): string[] {
  const traces = peers.flatMap(({ churn }) => churn?.trace ?? [])
  return [...(joins === undefined ? [] : [joins]), ...traces].map((file) => {
    try {
      return readFileSync(file, 'utf8')
    } catch (cause) {
      throw new HearthError(
        'scenario-invalid',
        `The scenario names the file ${file}, which cannot be read. Check the path`,
        {
          cause,
        },
      )
    }
  })
}
