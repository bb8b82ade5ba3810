// Holds the pages against the tree: every path, command, option and npm script that they name exists.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, test, vi } from 'vitest'
import { BATCH_FILE, isLineError, readJobFile } from '../src/tasks/job/job-file.ts'
import { temporaryFolder } from '../testing/temporary-folder.ts'

const ROOT = join(import.meta.dirname, '..')
const PAGES = [
  ...globSync('*.md', { cwd: ROOT }),
  ...globSync('docs/**/*.md', { cwd: ROOT }),
  'models/facts/README.md',
].sort()
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}

const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8')
const withoutBlocks = (text: string): string => text.replaceAll(/^```[^]*?^```/gm, '')
const inlineCodeOf = (text: string): string[] =>
  [...withoutBlocks(text).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
const blockLinesOf = (text: string): string[] =>
  [...text.matchAll(/^```[^\n]*\n([^]*?)^```/gm)].flatMap(([, block = '']) =>
    block.replaceAll('\\\n', ' ').split('\n'),
  )
const codeOf = (text: string): string[] => [...blockLinesOf(text), ...inlineCodeOf(text)]

/** A path of the repository: it begins with one of its folders, or is one of the files in its root. */
const PATH =
  /^(?:(?:src|sim|test|testing|bench|bin|docs|examples|models)\/[\w./*-]*[\w*/]|(?:oxlint|vitest)\.config\.ts|tsconfig\.json)$/

function pathsOf(page: string): string[] {
  const text = withoutBlocks(textOf(page))
  const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map(([, link = '']) =>
    join(dirname(page), link),
  )
  return [...links, ...codeOf(text).filter((code) => PATH.test(code) || BARE.test(code))]
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

/** `hearth …` as a page writes it: its words, of which the first are commands, and its options. */
interface Call {
  page: string
  words: string[]
  options: string[]
}

/** Splits at spaces outside quotes, and ends at a comment or at another command. */
function wordsOf(line: string): string[] {
  const words = line.match(/'[^']*'|"[^"]*"|\S+/g) ?? []
  const end = words.findIndex((word) => /^(?:#|\||&&|;)/.test(word))
  return (end < 0 ? words : words.slice(0, end)).map((word) => word.replace(/[,.;:]$/, ''))
}

/** Prose shortens `hearth up --lan` to `up --lan`. */
const unshortened = (code: string): string => code.replace(/^(?:up|submit|job|sim|context) -/, 'hearth $&')

function callsOf(page: string): Call[] {
  const text = textOf(page)
  return [...blockLinesOf(text), ...inlineCodeOf(text).map(unshortened)]
    .map((line) => line.replace(/^\s*(?:\$ )?(?:npx )?/, ''))
    .filter((line) => /^hearth(?: |$)/.test(line))
    .map((line) => wordsOf(line).slice(1))
    .map((words) => ({
      page,
      words: words.filter((word) => /^[a-z]+$/.test(word)),
      options: words.filter((word) => /^--?[a-z]/.test(word)).map((word) => word.split('=')[0]!),
    }))
}

/** The commands that a main module declares: what it would parse its arguments with. */
async function programOf(module: string): Promise<Command> {
  const programs: Command[] = []
  const spy = vi.spyOn(Command.prototype, 'parseAsync').mockImplementation(function (this: Command) {
    programs.push(this)
    return Promise.resolve(this)
  })
  await import(module)
  spy.mockRestore()
  return programs[0]!
}

const hearth = await programOf('../src/cli/main.ts')
const sim = await programOf('../sim/main.ts')

const childrenOf = (command: Command): readonly Command[] =>
  command.name() === 'sim' ? sim.commands : command.commands

/** What is wrong with a call, if anything is. */
function faultOf({ words, options }: Call): string | undefined {
  let command = hearth
  let name = 'hearth'
  for (const word of words) {
    const children = childrenOf(command)
    if (children.length === 0) break
    const child = children.find((candidate) => candidate.name() === word)
    if (child === undefined) return `there is no command "${name} ${word}"`
    command = child
    name += ` ${word}`
  }
  const declared = new Set(['--help', '-h', ...(command === hearth ? ['--version'] : [])])
  for (const { short, long } of command.options) for (const flag of [short, long]) declared.add(flag ?? '')
  const unknown = options.filter((option) => !declared.has(option))
  return unknown.length === 0 ? undefined : `"${name}" has no ${unknown.join(', ')}`
}

describe('commands in pages', () => {
  const calls = PAGES.flatMap(callsOf)

  test('every hearth command exists, with the options that are named', () => {
    expect(calls.length).toBeGreaterThan(60)
    const faults = calls.map((call) => ({ page: call.page, fault: faultOf(call) }))
    expect(faults.filter(({ fault }) => fault !== undefined)).toEqual([])
  })

  test.each([
    [['fly'], [], 'there is no command "hearth fly"'],
    [['job', 'fly'], [], 'there is no command "hearth job fly"'],
    [['sim', 'fly'], [], 'there is no command "hearth sim fly"'],
    [['submit', 'file'], ['--wait', '--wings'], '"hearth submit" has no --wings'],
  ])('of %j with %j it is said that %s', (words, options, fault) => {
    expect(faultOf({ page: '', words, options })).toBe(fault)
  })

  test('every npm script exists', () => {
    const named = PAGES.flatMap((page) =>
      codeOf(textOf(page))
        .filter((line) => !line.includes('bench/peers'))
        .flatMap((line) => [...line.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name = '']) => name)),
    )
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((name) => !(name in scripts))).toEqual([])
  })

  test('every bench exists', () => {
    const named = PAGES.flatMap((page) =>
      codeOf(textOf(page)).flatMap((line) =>
        [...line.matchAll(/\bnpm run bench -- ([a-z]+)/g)].map(([, name = '']) => name),
      ),
    )
    expect(named.filter((name) => name !== 'docs' && !existsSync(join(ROOT, `bench/${name}.ts`)))).toEqual([])
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

describe('README.md', () => {
  test('prints a batch file whose every line is a request', async () => {
    const [, batch] = /^```jsonl\n([^]*?)^```/m.exec(textOf('README.md'))!
    const folder = temporaryFolder('docs')
    try {
      const file = join(folder, 'batch.jsonl')
      await writeFile(file, batch!)
      const entries = await Array.fromAsync(readJobFile(file, BATCH_FILE))
      expect(entries.filter(isLineError)).toEqual([])
      expect(entries).toHaveLength(2)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
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
