// Holds the shape of the tree: no folder too full, and imports between folders one way.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FILES_MAX = 20
/** `import … from './x.ts'`, `export … from './x.ts'`, and imports of modules as a whole. */
const RELATIVE_IMPORT = /(?:from|import)\s*\(?'(\.[^']+)'/g
/** Imports, other than `import type`, of the modules that oxlint.config.ts calls PLAIN_TYPES. */
const PLAIN_TYPES_IMPORT =
  /import \{([^}]*)\} from '[^']*\/(?:base\/log\/event-log|store\/store-memory|job\/request-range|wire\/(?!timings\.)[a-z-]+)\.ts'/g

function sourcesOf(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => join(folder, path))
}

/** A folder and its `core/` are one stage. */
const stageOf = (path: string): string => dirname(path).replace(/\/core$/, '')

/** Every import from one stage to another: `edges.get(from)` are the stages that it imports. */
function importsBetweenStages(paths: string[]): Map<string, Set<string>> {
  const edges = new Map<string, Set<string>>()
  for (const path of paths) {
    const from = stageOf(path)
    const text = readFileSync(join(ROOT, path), 'utf8')
    for (const [, imported] of text.matchAll(RELATIVE_IMPORT)) {
      const to = stageOf(normalize(join(dirname(path), imported!)))
      if (to !== from) edges.set(from, (edges.get(from) ?? new Set()).add(to))
    }
  }
  return edges
}

/** Takes away stages that import nothing that is left, again and again: what remains is on a cycle, or leads to one. */
function stagesOnCycles(edges: Map<string, Set<string>>): string[] {
  const left = new Map(edges)
  for (;;) {
    const free = [...left].filter(([, targets]) => ![...targets].some((target) => left.has(target)))
    if (free.length === 0) return [...left.keys()].sort()
    for (const [stage] of free) left.delete(stage)
  }
}

describe('the tree', () => {
  test.each(['src', 'sim', 'bench', 'testing'])('has no folder of %s with too many files', (root) => {
    const counts = Map.groupBy(sourcesOf(root), dirname)
    expect([...counts].filter(([, paths]) => paths.length > FILES_MAX).map(([folder]) => folder)).toEqual([])
  })

  test('has no cycle between folders, types counted', () => {
    const paths = [...sourcesOf('src'), ...sourcesOf('sim')]
    expect(stagesOnCycles(importsBetweenStages(paths))).toEqual([])
  })

  test('would say so of a cycle', () => {
    const edges = new Map([
      ['a', new Set(['b'])],
      ['b', new Set(['c', 'd'])],
      ['c', new Set(['a'])],
      ['d', new Set<string>()],
    ])
    expect(stagesOnCycles(edges)).toEqual(['a', 'b', 'c'])
  })

  test('has no core that takes more than types of messages, logs and rows', () => {
    const taken = sourcesOf('src')
      .filter((path) => path.includes('/core/'))
      .flatMap((path) => [...readFileSync(join(ROOT, path), 'utf8').matchAll(PLAIN_TYPES_IMPORT)])
      .flatMap(([, names = '']) => names.split(',').map((name) => name.trim()))
    expect(taken.filter((name) => name !== '' && !name.startsWith('type '))).toEqual([])
  })

  test('makes temporary folders in one place', () => {
    const making = ['test', 'testing', 'bench']
      .flatMap(sourcesOf)
      .filter((path) => /\bmkdtemp/.test(readFileSync(join(ROOT, path), 'utf8')))
      .filter((path) => path !== join('test', 'folders.test.ts'))
    expect(making).toEqual([join('testing', 'folders', 'new-folder.ts')])
  })

  test('keeps the submitter and the worker apart: they meet in wire', () => {
    const edges = importsBetweenStages(sourcesOf('src/tasks'))
    expect(edges.get('src/tasks/submitter')).not.toContain('src/tasks/worker')
    expect(edges.get('src/tasks/worker')).not.toContain('src/tasks/submitter')
  })

  test('keeps the store from knowing of transfers', () => {
    const edges = importsBetweenStages(sourcesOf('src/context-sharing'))
    for (const stage of ['content', 'disk', 'store'])
      for (const transfer of ['wire', 'download', 'upload', 'replication', 'origin', 'hub'])
        expect([...(edges.get(`src/context-sharing/${stage}`) ?? [])]).not.toContain(
          `src/context-sharing/${transfer}`,
        )
  })
})
