// How faithful renderers are to Python's jinja2, and whether hostile templates hurt them.
import { fork, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RendererName, Variables } from './libraries.ts'

const CHILD = join(import.meta.dirname, 'renderer-main.ts')
const GOLDENS = join(import.meta.dirname, '../../test/fixtures/template-goldens.json')
/** An ordinary template takes a millisecond; a hostile one may take as long as its library bounds it, ms. */
const ORDINARY_MS_MAX = 2_000
const HOSTILE_MS_MAX = 15_000

/** Templates that take for ever, or all memory, where nothing bounds them. */
const HOSTILE = [
  '{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}',
  "{{ 'x' * 1000000000 }}",
  "{% set ns = namespace(a='xxxxxxxxxx') %}{% for i in range(40) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a | length }}",
  '{% set ns = namespace(a=[1]) %}{% for i in range(40) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a | length }}',
  '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
  "{{ 'x'.center(1000000000) }}",
]

interface Goldens {
  setup: { variables: Variables }
  cases: [source: string, expected: string | null][]
}

/** 'died' for a process that ended, or gave no answer in time. */
type Answer = { text: string | null } | 'died'

class RendererProcess implements AsyncDisposable {
  readonly #name: RendererName
  #child: ChildProcess | undefined

  constructor(name: RendererName) {
    this.#name = name
  }

  async render(source: string, variables: Variables, msMax: number): Promise<Answer> {
    const child = (this.#child ??= fork(CHILD, [this.#name], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    }))
    const answer = await new Promise<Answer>((resolve) => {
      const timer = setTimeout(() => resolve('died'), msMax)
      const finish = (result: Answer): void => {
        clearTimeout(timer)
        child.removeAllListeners()
        resolve(result)
      }
      child.once('message', (message) => finish(message as Answer))
      child.once('exit', () => finish('died'))
      child.send({ source, variables })
    })
    if (answer === 'died') await this[Symbol.asyncDispose]()
    return answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
  }
}

/** The share of templates that give Python's text, or are refused as there, %. */
export async function fidelityOf(name: RendererName, isQuick: boolean): Promise<number> {
  const { setup, cases } = JSON.parse(readFileSync(GOLDENS, 'utf8')) as Goldens
  const tried = isQuick ? cases.filter((_, index) => index % 20 === 0) : cases
  await using renderer = new RendererProcess(name)
  let same = 0
  for (const [source, expected] of tried) {
    const answer = await renderer.render(source, setup.variables, ORDINARY_MS_MAX)
    if (answer !== 'died' && answer.text === expected) same += 1
  }
  return (100 * same) / tried.length
}

/** Share of the hostile templates that end in time, with the process alive, %. */
export async function containedBy(name: RendererName): Promise<number> {
  await using renderer = new RendererProcess(name)
  let contained = 0
  for (const source of HOSTILE)
    contained += (await renderer.render(source, {}, HOSTILE_MS_MAX)) === 'died' ? 0 : 1
  return (100 * contained) / HOSTILE.length
}
