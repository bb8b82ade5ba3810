// Holds the pages against the tree: every path that they name exists. test/docs-commands.test.ts holds their commands.
import { existsSync, globSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { blocksOf, codeOf, PAGES, ROOT, textOf, withoutBlocks } from '../testing/docs/pages.ts'

/** A path of the repository: it begins with one of its folders, or is one of the files in its root. */
const PATH =
  /^(?:(?:src|sim|test|testing|bench|bin|docs|examples|models)\/[\w./*-]*[\w*/]|(?:oxlint|vitest)\.config\.ts|tsconfig\.json)$/

function pathsOf(page: string): string[] {
  const text = withoutBlocks(textOf(page))
  const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map(([, link = '']) =>
    join(dirname(page), link),
  )
  return [...links, ...codeOf(page).filter((code) => PATH.test(code) || BARE.test(code))]
}

/** A file's name without its folder, as pages name neighbours of a path. */
const BARE = /^[\w-]+\.ts$/
const SOURCES = globSync('{src,sim,test,testing,bench,examples,models}/**/*.ts', {
  cwd: ROOT,
  exclude: (path) => path.includes('node_modules'),
})
const NAMES = new Set(SOURCES.map((path) => basename(path)))

function isThere(path: string): boolean {
  if (BARE.test(path)) return NAMES.has(path)
  return path.includes('*') ? globSync(path, { cwd: ROOT }).length > 0 : existsSync(join(ROOT, path))
}

/** The headings that a page can be linked at, as GitHub names them. */
const anchorsOf = (page: string): string[] =>
  [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .trim()
      .replaceAll(/\s/g, '-'),
  )

describe('paths in pages', () => {
  test.each(PAGES)('%s names only files and folders that exist', (page) => {
    expect(pathsOf(page).filter((path) => !isThere(path))).toEqual([])
  })

  test.each(PAGES)('%s links only to headings that exist', (page) => {
    const links = [...withoutBlocks(textOf(page)).matchAll(/\]\((?!https?:)([^)#]*\.md)?#([^)]+)\)/g)]
    const broken = links.filter(([, file, anchor = '']) => {
      const target = file === undefined ? page : join(dirname(page), file)
      return !existsSync(join(ROOT, target)) || !anchorsOf(target).includes(anchor)
    })
    expect(broken.map(([link]) => link)).toEqual([])
  })

  test('comments name only pages that exist', () => {
    const pages = globSync('{bin,sim,models}/**/*.{js,yaml,py}', { cwd: ROOT })
    const named = [...SOURCES, ...pages].flatMap((file) =>
      [...textOf(file).matchAll(/(?<![\w/])docs\/[\w/-]+(?:\.md|\/\d{4}\b)/g)].map(
        ([path]) => `${file}: ${path}`,
      ),
    )
    const missing = named.filter((line) => {
      const path = line.split(': ')[1]!
      return !isThere(path.endsWith('.md') ? path : `${path}*`)
    })
    expect(missing).toEqual([])
  })
})

describe('ARCHITECTURE.md', () => {
  test('has every folder of decisions in its table of cores', () => {
    const page = textOf('ARCHITECTURE.md')
    const folders = new Set(SOURCES.filter((path) => /^src\/.*\/core\//.test(path)).map(dirname))
    expect(folders.size).toBeGreaterThan(10)
    expect([...folders].filter((folder) => !page.includes(`| \`${folder}/`))).toEqual([])
  })
})

describe('folders', () => {
  const folders = globSync('{src/*,src/*/*,sim/*}/', { cwd: ROOT }).map((path) => path.replace(/\/$/, ''))
  const list = blocksOf('ARCHITECTURE.md').find(({ text }) => text.startsWith('src/'))?.text ?? ''

  test('of the source are all in the list of ARCHITECTURE.md', () => {
    expect(folders.length).toBeGreaterThan(50)
    const named = folders.filter((path) => !path.endsWith('/core') && !path.includes('.'))
    expect(named.filter((path) => !list.includes(`${basename(path)}/`))).toEqual([])
  })

  test('in the list of ARCHITECTURE.md all exist', () => {
    const existing = new Set(
      globSync('{src,sim,bench,test,testing,examples,models}/**/', {
        cwd: ROOT,
        exclude: (path) => path.includes('node_modules'),
      }).map((path) => basename(path)),
    )
    const printed = [...list.matchAll(/\b([\w-]+)\//g)].map(([, name = '']) => name)
    expect(printed.filter((name) => !existing.has(name))).toEqual([])
  })
})

const SENTENCE_WORDS_MAX = 25
/** docs/benchmarks.md is generated, and models/facts is a page about one model. */
const PROSE = PAGES.filter((page) => page !== 'docs/benchmarks.md' && !page.startsWith('models/'))

/** The sentences of a page, code and links shortened; tables, headings and pictures are none. */
const sentencesOf = (page: string): string[] =>
  withoutBlocks(textOf(page))
    .split('\n')
    .filter((line) => !/^(?:[|#]|!\[)/.test(line))
    .map((line) => line.replaceAll(/`[^`]*`/g, 'X').replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1'))
    .flatMap((line) => line.split(/(?<=[.!?])\s+(?=[A-Z*_])/))

describe('prose', () => {
  test.each(PROSE)('%s has no sentence over 25 words, and none of the words that say nothing', (page) => {
    const sentences = sentencesOf(page)
    const wordsIn = (sentence: string): number => sentence.match(/\S*\w\S*/g)?.length ?? 0
    expect(sentences.filter((sentence) => wordsIn(sentence) > SENTENCE_WORDS_MAX)).toEqual([])
    const empty = /\b(?:simply|just|of course|by now|no longer|at first)\b/
    expect(sentences.filter((sentence) => empty.test(sentence))).toEqual([])
  })
})

describe('docs/decisions', () => {
  const pages = globSync('docs/decisions/[0-9]*.md', { cwd: ROOT }).sort()

  test('are numbered without gaps, and each is in the index', () => {
    expect(pages.map((page) => Number(page.split('/')[2]!.slice(0, 4)))).toEqual(
      pages.map((_, index) => index + 1),
    )
    const index = textOf('docs/decisions/README.md')
    expect(pages.filter((page) => !index.includes(`](${page.split('/')[2]})`))).toEqual([])
  })

  test.each(pages)('%s has every part of the template, a number, a status and a date', (page) => {
    const text = textOf(page)
    const number = Number(page.split('/')[2]!.slice(0, 4))
    expect(text).toMatch(new RegExp(`^# ${number}\\. .+\n\n- Status: \\w.*\n- Date: \\d{4}-\\d\\d-\\d\\d\n`))
    const headings = [...text.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading)
    expect(headings).toEqual(['Context', 'Options', 'Choice', 'Consequences'])
  })
})
