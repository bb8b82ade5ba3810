// Every command and every block that a page prints works: commands are parsed by the real programs, scenarios are
// loaded, npm scripts and their options are looked up, and blocks are read by what reads such files.
// test/e2e/readme.test.ts runs the README's commands.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CommanderError, type Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadScenario } from '../sim/scenarios/load.ts'
import { churnSchema } from '../sim/scenarios/churn-schema.ts'
import { combinationsOf, gridOf } from '../sim/sweep/grid.ts'
import { BATCH_FILE, isLineError, readJobFile } from '../src/tasks/job/job-file.ts'
import { programOf } from '../testing/docs/command-line.ts'
import { blocksOf, inlineCodeOf, linesOf, PAGES, ROOT, textOf, type Block } from '../testing/docs/pages.ts'
import { temporaryFolder } from '../testing/temporary-folder.ts'

const hearth = await programOf('../../src/cli/main.ts')
const sim = await programOf('../../sim/main.ts')
const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }

/** A command line as a page prints it. A whole one could be typed; one in a sentence may leave out arguments. */
interface Line {
  text: string
  isWhole: boolean
}

/** Splits at spaces outside quotes, and ends at a comment or at another command. */
function wordsOf(line: string): string[] {
  const words = line.match(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g) ?? []
  const end = words.findIndex((word) => /^(?:#|\||&&?$|;)/.test(word))
  return (end < 0 ? words : words.slice(0, end)).map((word) => word.replaceAll(/['"]|[,;:]$/g, ''))
}

const LEFT_OUT = new Set([
  'commander.missingArgument',
  'commander.missingMandatoryOptionValue',
  'commander.optionMissingArgument',
  'commander.help',
])
/** A word in capitals stands for one that the reader knows, also where only some words are allowed. */
const PLACEHOLDER = /(?:unknown command|argument) '[A-Z]+'/
const SHOWN = new Set(['commander.helpDisplayed', 'commander.version'])

/** What is wrong with the parameters of a program, by the program itself. */
function parseFault(program: Command, parameters: string[], isWhole: boolean): string | undefined {
  try {
    program.parse(parameters, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (SHOWN.has(error.code)) return undefined
    const isLeftOut = LEFT_OUT.has(error.code) || PLACEHOLDER.test(error.message)
    return isLeftOut && !isWhole ? undefined : error.message
  }
  return undefined
}

/** An unknown option is found beside a left-out argument, too. */
function unknownOptions(program: Command, parameters: string[]): string | undefined {
  let command = program
  let name = program.name()
  for (const word of parameters) {
    const child = command.commands.find((candidate) => candidate.name() === word)
    if (child === undefined) break
    command = child
    name += ` ${word}`
  }
  const declared = new Set(['--help', '-h'])
  for (const { short, long } of command.options) for (const flag of [short, long]) declared.add(flag ?? '')
  if (command === hearth) declared.add('--version')
  const options = parameters
    .filter((word) => /^--?[a-z]/.test(word))
    .map((word) => word.replace(/=.*/, ''))
    .filter((option) => !declared.has(option))
  return options.length === 0 ? undefined : `"${name}" has no ${options.join(', ')}`
}

function hearthFault({ text, isWhole }: Line): string | undefined {
  const [, ...parameters] = wordsOf(text.replace(/^npx /, ''))
  const isSim = parameters[0] === 'sim'
  const program = isSim ? sim : hearth
  const own = isSim ? parameters.slice(1) : parameters
  if (!isWhole && (own.length === 0 || /^[A-Z]/.test(own[0]!))) return undefined
  return (
    unknownOptions(program, own) ?? parseFault(program, own, isWhole) ?? (isSim ? simFault(own) : undefined)
  )
}

/** What is wrong with the scenario and the settings that a command of the simulator names. */
function simFault(parameters: string[]): string | undefined {
  const [command = '', ...rest] = parameters
  const names = rest.filter((word, at) => /^[a-z]/.test(word) && !(rest[at - 1] ?? '').startsWith('--'))
  const settings = rest.filter((_word, at) => /^--set(?:-[ab])?$/.test(rest[at - 1] ?? ''))
  const isVaried = command === 'sweep'
  if (!['run', 'sweep', 'compare'].includes(command)) return undefined
  if (settings.some((setting) => !/=[^A-Z…]/.test(setting))) return undefined
  try {
    const variants =
      isVaried && settings.length > 0 ? combinationsOf(gridOf(names[0]!, settings)) : [settings]
    for (const name of names) loadScenario(name, variants[0])
  } catch (error) {
    return String(error)
  }
  return undefined
}

/** The entry file of an npm script, and what comes before the options of its caller. */
function entryOf(script: string): { file: string | undefined; first: string[] } {
  const [, file, rest = ''] = /^node (\S+)(.*)$/.exec(scripts[script] ?? '') ?? []
  return { file, first: wordsOf(rest) }
}

/** What node's parseArgs in a script's entry file accepts. */
function declaredBy(file: string): { options: Set<string>; takesOthers: boolean } {
  const source = readFileSync(join(ROOT, file), 'utf8')
  const options = [...source.matchAll(/(?:^|[{\s])'?([a-z][\w-]*)'?: \{ type: '/g)].map(
    ([, name = '']) => name,
  )
  return {
    options: new Set(options),
    takesOthers: source.includes('allowPositionals: true') || source.includes('process.argv.slice(2)'),
  }
}

function npmFault({ text, isWhole }: Line): string | undefined {
  const [, verb = '', ...rest] = wordsOf(text)
  if (['ci', 'install', 'link', 'version', 'exec', 'pack'].includes(verb)) return undefined
  const script = verb === 'run' ? rest.shift() : verb
  if (script === undefined && !isWhole) return undefined
  if (script === undefined || !(script in scripts)) return `there is no npm script "${script}"`
  const given = rest[0] === '--' ? rest.slice(1) : []
  if (rest.length > 0 && given.length === 0) return `options of "${script}" come after --`
  const { file, first } = entryOf(script)
  if (file === undefined) return given.length === 0 ? undefined : `"${script}" takes no options`
  if (file === 'bin/hearth.js')
    return hearthFault({ text: ['hearth', ...first, ...given].join(' '), isWhole })
  const { options, takesOthers } = declaredBy(file)
  const unknown = given.filter((word) => word.startsWith('--') && !options.has(word.slice(2)))
  if (unknown.length > 0) return `"npm run ${script}" has no ${unknown.join(', ')}`
  const others = given.filter((word, at) => !word.startsWith('--') && !(given[at - 1] ?? '').startsWith('--'))
  if (others.length > 0 && !takesOthers) return `"npm run ${script}" takes no ${others.join(', ')}`
  const [bench = ''] = script === 'bench' ? others : []
  const isBench = !/^[a-z]/.test(bench) || bench === 'docs' || existsSync(join(ROOT, `bench/${bench}.ts`))
  return isBench ? undefined : `there is no bench "${bench}"`
}

/** `npx vitest`, `node FILE`: the files that they name exist, and so does a project of tests. */
function fileFault({ text }: Line): string | undefined {
  const words = wordsOf(text)
  const files = words.filter((word) => /^(?:[\w-]+\/)+[\w.-]*$/.test(word))
  const missing = files.filter((file) => globSync(file, { cwd: ROOT }).length === 0)
  if (missing.length > 0) return `there is no ${missing.join(', ')}`
  const project = words[words.indexOf('--project') + 1]
  const isProject = !words.includes('--project') || textOf('vitest.config.ts').includes(`name: '${project}'`)
  return isProject ? undefined : `there is no project "${project}"`
}

const OF_OTHERS = /^(?:git|cd|curl|sudo|systemctl|export|sh|apt-get) /
const KINDS: [RegExp, (line: Line) => string | undefined][] = [
  [/^(?:npx )?hearth(?: |$)/, hearthFault],
  [/^npm (?:ci|test|start|run|link|install|version|exec|pack)\b/, npmFault],
  [/^(?:npx vitest|node) /, fileFault],
]

/** The commands of a line, of which `&&` makes several; environment settings come before some of them. */
const commandsOf = (line: string): string[] =>
  line.split(' && ').map((command) => command.trim().replace(/^(?:\$ |[A-Z_]+=\S+ )+/, ''))

/** What is wrong with a line of a shell block. A kind of command that nothing here knows is wrong, too. */
function blockFault(line: string): string | undefined {
  const own = /\bbench\/peers\b/.test(line) ? [] : commandsOf(line)
  for (const text of own) {
    const kind = KINDS.find(([pattern]) => pattern.test(text))
    if (kind === undefined && !OF_OTHERS.test(text) && !text.startsWith('#'))
      return `this test knows no command "${text}"; let it check such commands`
    const fault = kind?.[1]({ text, isWhole: true })
    if (fault !== undefined) return `${text}: ${fault}`
  }
  return undefined
}

/** Prose shortens `hearth up --lan` to `up --lan`. */
const unshortened = (code: string): string => code.replace(/^(?:up|submit|job|sim|context) -/, 'hearth $&')

/** `[--option]` may be left out, and `a|b` is one of two. */
function variantsOf(code: string): string[] {
  const [, before = '', alternatives = '', after = ''] = /^([^|]* )(\w+(?:\|\w+)+)(.*)$/.exec(code) ?? []
  const codes = alternatives === '' ? [code] : alternatives.split('|').map((word) => before + word + after)
  return codes.map((variant) => variant.replaceAll(/[[\]]/g, ''))
}

function mentionFault(code: string): string | undefined {
  const own = code.includes('bench/peers') ? [] : variantsOf(unshortened(code))
  for (const text of own.flatMap(commandsOf)) {
    const kind = KINDS.find(([pattern]) => pattern.test(text))
    const fault = kind?.[1]({ text, isWhole: false })
    if (fault !== undefined) return `${code}: ${fault}`
  }
  return undefined
}

const isFault = (fault: string | undefined): fault is string => fault !== undefined
const shellLines = PAGES.flatMap(blocksOf)
  .filter(({ language }) => language === 'sh')
  .flatMap(linesOf)

describe('commands in pages', () => {
  test('every line of a shell block is a command that parses as printed', () => {
    expect(shellLines.length).toBeGreaterThan(20)
    expect(shellLines.map(blockFault).filter(isFault)).toEqual([])
  })

  test('every command in a sentence or a table exists, with the options and values that are named', () => {
    const codes = PAGES.flatMap(inlineCodeOf)
    expect(codes.length).toBeGreaterThan(500)
    expect(codes.map(mentionFault).filter(isFault)).toEqual([])
  })

  test("the README's table names only subcommands that exist", () => {
    const rows = textOf('README.md').matchAll(/^\| `hearth (job|context|sim) \w+[ `][^|]*\|/gm)
    const printed = [...rows]
    expect(printed.length).toBeGreaterThan(3)
    const missing = printed.flatMap(([row, group = '']) => {
      const program = group === 'sim' ? sim : hearth.commands.find((command) => command.name() === group)
      const codes = [...row.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
      const names = codes
        .map((code) => code.replace(`hearth ${group} `, '').split(' ')[0]!)
        .filter((word) => /^[a-z]+$/.test(word))
      expect(names.length).toBeGreaterThan(0)
      return names.filter((name) => !program?.commands.some((command) => command.name() === name))
    })
    expect(missing).toEqual([])
  })

  test.each([
    ['npx hearth fly', /unknown command/],
    ['hearth job fly', /unknown command/],
    ['hearth sim fly', /unknown command/],
    ['hearth submit file --wait 5', /required option/],
    ['hearth submit file --context a -o b --wings', /"hearth submit" has no --wings/],
    ['hearth submit a b --context c -o d', /too many arguments/],
    ['hearth up --engine steam', /Allowed choices/],
    ['hearth sim run no-such-place', /no-such-place/],
    ['hearth sim run pv4 --set wings=2', /wings/],
    ['npm run fly', /no npm script/],
    ['npm run chaos -- --wings', /no --wings/],
    ['npm run bench -- wings', /no bench "wings"/],
    ['npm start -- --wings', /"hearth demo" has no --wings/],
    ['npx vitest run test/wings', /no test\/wings/],
    ['npx vitest run --project wings', /no project/],
    ['npm run', /no npm script/],
    ['hearth job', /outputHelp/],
    ['fly away', /knows no command/],
  ])('of "%s" it is said what is wrong', (line, fault) => {
    expect(blockFault(line)).toMatch(fault)
  })

  test.each([
    'hearth submit --detach',
    'hearth context add',
    'hearth job',
    'hearth COMMAND --help',
    'up --evaluate MODE',
    'hearth up --device cpu|cuda',
    'hearth drain [--deadline 60]',
    'npm run bench -- NAME',
  ])('in a sentence, "%s" is right', (code) => {
    expect(mentionFault(code)).toBeUndefined()
  })

  test.each(['hearth up --device cpu|steam', 'hearth drain [--wings]', 'up --wings'])(
    'in a sentence, "%s" is wrong',
    (code) => {
      expect(mentionFault(code)).toBeDefined()
    },
  )
})

describe('the checkout', () => {
  test('no page tells a reader to run npx hearth without saying that it works inside the checkout only', () => {
    const pages = PAGES.filter((page) => textOf(page).includes('npx hearth'))
    const silent = pages.filter((page) => !/\bcheckout\b/.test(textOf(page)))
    expect(pages.length).toBeGreaterThan(2)
    expect(silent).toEqual([])
  })
})

describe('commands in messages', () => {
  test('every "hearth …" that a message names exists', () => {
    const sources = globSync('{src,sim,bin}/**/*.{ts,js}', { cwd: ROOT })
    const named = sources.flatMap((file) =>
      [...textOf(file).matchAll(/"(hearth [a-z][^"\n]*)"/g)].map(([, text = '']) =>
        text.replaceAll(/\$\{[^}]*\}+/g, 'X'),
      ),
    )
    expect(named.length).toBeGreaterThan(30)
    expect(named.map(mentionFault).filter(isFault)).toEqual([])
  })
})

describe('options of commands', () => {
  const leavesOf = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf)
  /** The simulator touches no data folder. */
  const leaves = leavesOf(hearth).filter((command) => command.name() !== 'sim')

  test('every command takes --data, --json and --verbose', () => {
    expect(leaves.length).toBeGreaterThan(20)
    const lacking = leaves.filter((command) => {
      const flags = command.options.map(({ long }) => long)
      return !['--data', '--json', '--verbose'].every((flag) => flags.includes(flag))
    })
    expect(lacking.map((command) => command.name())).toEqual([])
  })

  test('every command of the simulator takes --json', () => {
    expect(sim.commands.filter(({ options }) => !options.some(({ long }) => long === '--json'))).toEqual([])
  })
})

/** Reads a block as what it is printed for; throws when it cannot be read. */
const READERS: Record<string, (block: Block) => Promise<void> | void> = {
  '': () => {},
  cddl: () => {},
  mermaid: () => {},
  sh: () => {},
  /** The test of the page's format reads them. */
  vectors: ({ page }) => expect(page).toMatch(/^docs\/protocol\//),
  /** test/e2e/embed.test.ts runs it. */
  ts: ({ text }) => expect(text).toBe(textOf('examples/embed.ts')),
  json: ({ text }) => expect(() => JSON.parse(text) as unknown).not.toThrow(),
  jsonl: async ({ text }) => {
    const file = join(temporaryFolder('docs'), 'batch.jsonl')
    await writeFile(file, text)
    const entries = await Array.fromAsync(readJobFile(file, BATCH_FILE))
    expect(entries.filter(isLineError)).toEqual([])
    expect(entries).toHaveLength(text.trim().split('\n').length)
  },
  yaml: async ({ text }) => {
    if (text.startsWith('up:')) {
      for (const line of text.trim().split('\n'))
        expect(churnSchema.safeParse({ preset: 'home-pc', ...(parse(line) as object) }).error).toBeUndefined()
      return
    }
    const file = join(temporaryFolder('docs'), 'printed.yaml')
    await writeFile(file, text)
    const document = parse(text) as object
    if (!('vary' in document)) expect(() => loadScenario(file)).not.toThrow()
    else {
      const grid = gridOf(file, [])
      for (const settings of combinationsOf(grid)) loadScenario(grid.scenario, settings)
    }
  },
}

describe('blocks in pages', () => {
  test.each(PAGES.flatMap(blocksOf))(
    '$page: its block of $language is read by what it is for',
    async (block) => {
      const reader = READERS[block.language]
      expect(reader, `a reader for blocks of ${block.language}`).toBeDefined()
      await reader!(block)
    },
  )

  test('a command stands in a block of sh, so that it is checked', () => {
    const plain = PAGES.flatMap(blocksOf).filter(({ language }) => language === '')
    const commands = plain.flatMap(linesOf).filter((line) => /^\s*(?:\$ )?(?:npx |npm |hearth )/.test(line))
    expect(commands).toEqual([])
  })
})
