// Holds that every export of src/ and sim/ has a reader, and every type at least one use.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const PATHS = globSync('{src,sim,bench,bin,examples,models,test,testing}/**/*.{ts,js}', {
  cwd: ROOT,
  exclude: (path) => path.includes('node_modules') || path.startsWith('bench/peers'),
})
const COMMENT = /\/\*[^]*?\*\/|(?<!:)\/\/.*$/gm
const VALUE = /^export (?:async |abstract )?(?:function\*?|class|const|let) ([\w$]+)/gm
const TYPE = /^export (?:interface|type) ([\w$]+)/gm
const WORD = /[A-Za-z_$][\w$]*/g

interface Source {
  path: string
  text: string
  words: Set<string>
}

const sourceOf = (path: string, raw: string): Source => {
  const text = raw.replaceAll(COMMENT, '')
  return { path, text, words: new Set(text.match(WORD)) }
}

/** Exported values that no other file names, and exported types that nothing at all names. */
function unusedExports(sources: Source[]): string[] {
  const filesWith = new Map<string, number>()
  for (const { words } of sources)
    for (const word of words) filesWith.set(word, (filesWith.get(word) ?? 0) + 1)
  const isAlone = (name: string): boolean => filesWith.get(name) === 1
  return sources
    .filter(({ path }) => /^(?:src|sim)\//.test(path) && path !== 'src/index.ts')
    .flatMap(({ path, text }) => {
      const values = [...text.matchAll(VALUE)].map(([, name = '']) => name)
      const types = [...text.matchAll(TYPE)].map(([, name = '']) => name)
      const isNamedOnce = (name: string): boolean =>
        text.match(WORD)?.filter((word) => word === name).length === 1
      return [...values.filter(isAlone), ...types.filter((name) => isAlone(name) && isNamedOnce(name))].map(
        (name) => `${path}: ${name}`,
      )
    })
}

describe('exports', () => {
  test('of src/ and sim/ are all read: others lose the word "export", or go', () => {
    const sources = PATHS.map((path) => sourceOf(path, readFileSync(join(ROOT, path), 'utf8')))
    expect(sources.length).toBeGreaterThan(500)
    expect(unusedExports(sources)).toEqual([])
  })

  test('that nobody reads would be named, and comments are no readers', () => {
    const sources = [
      sourceOf('src/a.ts', 'export const used = 1\nexport const lone = used\nexport type Idle = 1\n'),
      sourceOf('src/b.ts', "// lone, Idle\nimport { used } from './a.ts'\nused()\n"),
    ]
    expect(unusedExports(sources)).toEqual(['src/a.ts: lone', 'src/a.ts: Idle'])
  })
})
