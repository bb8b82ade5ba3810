// Chat templates and tokenizers: as fast as, and as true as, the libraries that others use. Needs bench/peers:
// cd bench/peers && npm ci
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TextCodec } from '../src/inference/text/text-codec.ts'
import { TokenizeError } from '../src/inference/text/tokenizer/parts.ts'
import { Tokenizer } from '../src/inference/text/tokenizer/tokenizer.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric, type Wanted } from './support/harness.ts'
import {
  byteLevelTokenizer,
  CHAT_TEMPLATE,
  chats,
  prose,
  sentencePieceTokenizer,
  type Message,
} from './text/corpus.ts'
import {
  hasLibraries,
  oldTokenizer,
  rendererOf,
  RENDERERS,
  rustTokenizer,
  type Variables,
} from './text/libraries.ts'
import { containedBy, fidelityOf } from './text/rendering.ts'

const CONFIG = { bos_token: '<|begin_of_text|>', eos_token: '<|eot_id|>' }
const MESSAGES = 8
const CHARACTERS = 430
const GOLDENS = join(import.meta.dirname, '../test/fixtures/tokenizer-goldens.json')
/** At most so many templates that Python renders may be refused or differ. */
const FIDELITY_MIN = 98

interface Kind {
  name: string
  make: (text: string) => object
}

const KINDS: Kind[] = [
  { name: 'as Llama 3', make: byteLevelTokenizer },
  { name: 'as Llama 2', make: sentencePieceTokenizer },
]

const higher = (name: string, unit: string, bounds: Partial<Wanted> = {}): Wanted => ({
  name,
  unit,
  better: 'higher',
  ...bounds,
})

const variablesOf = (messages: readonly Message[]): Variables => ({
  messages,
  ...CONFIG,
  add_generation_prompt: true,
  tools: null,
  documents: null,
})

type Work = (chat: number) => unknown

/** Median times of each work on each chat, µs, measured in turn. */
async function mediansOf(
  works: Readonly<Record<string, Work>>,
  count: number,
): Promise<Record<string, number>> {
  const times = Object.fromEntries(Object.keys(works).map((name): [string, number[]] => [name, []]))
  for (let chat = 0; chat < count; chat += 1) {
    for (const [name, work] of Object.entries(works)) {
      const beganMs = performance.now()
      await work(chat)
      // The first quarter prepares. No chat is seen twice.
      if (chat >= count / 4) times[name]?.push((performance.now() - beganMs) * 1_000)
    }
  }
  return Object.fromEntries(
    Object.entries(times).map(([name, all]) => [name, metricOf(higher(name, ''), all).value]),
  )
}

/** The time of a chat with each library, µs. */
interface Times {
  ours: number
  old: number
  rust: number
}

async function timesOf(file: object, all: readonly Message[][]): Promise<Times> {
  const codec = new TextCodec(
    { tokenizer: file, tokenizerConfig: CONFIG, chatTemplate: CHAT_TEMPLATE },
    () => 0,
  )
  const [old, rust] = [oldTokenizer(file, CONFIG), rustTokenizer(file)]
  const render = rendererOf('@huggingface/jinja')(CHAT_TEMPLATE)
  const prompts = all.map((messages) => render(variablesOf(messages)))
  const ours = (chat: number): number[] =>
    codec.encode({ kind: 'chat', messages: all[chat] ?? [], templateVariables: {} })
  const rustIds = async (chat: number): Promise<number[]> =>
    (await rust.encode(prompts[chat] ?? '', null, { addSpecialTokens: false })).getIds()
  const us = await mediansOf(
    {
      ours,
      old: (chat) => old.encode(render(variablesOf(all[chat] ?? [])), { add_special_tokens: false }).ids,
      rust: rustIds,
    },
    all.length,
  )
  for (const chat of all.keys()) {
    if (ours(chat).join() !== (await rustIds(chat)).join())
      throw new Error(`the tokens of chat ${chat} differ`)
  }
  return { ours: us['ours'] ?? 0, old: us['old'] ?? 0, rust: us['rust'] ?? 0 }
}

async function speedOf({ name, make }: Kind, { quick, runs }: BenchOptions): Promise<Metric[]> {
  const text = prose()
  const file = make(quick ? text.slice(0, 100_000) : text)
  const times: Times[] = []
  for (let run = 0; run < runs; run += 1) {
    const size = { count: quick ? 20 : 200, messages: MESSAGES, characters: CHARACTERS }
    times.push(await timesOf(file, chats(text, { ...size, seed: run })))
  }
  const of = (what: string, bounds: Partial<Wanted>, ratio: (time: Times) => number): Metric =>
    metricOf(higher(`chat to tokens ${name}, ${what}`, '×', bounds), times.map(ratio))
  return [
    of('over @huggingface/jinja and tokenizers', { toward: 3 }, ({ ours, old }) => old / ours),
    of('over Rust tokenizers alone, called from Node', { toward: 1 }, ({ ours, rust }) => rust / ours),
    of(
      'of 3 × the former or 1 × the latter, the less',
      { bound: 1 },
      ({ ours, old, rust }) => Math.max(old / 3, rust) / ours,
    ),
  ]
}

async function renderingSpeed({ quick, runs }: BenchOptions): Promise<Metric[]> {
  const count = quick ? 50 : 1_000
  const size = { count, messages: MESSAGES, characters: CHARACTERS, seed: 1 }
  const all = chats(prose(), size).map(variablesOf)
  const works = Object.fromEntries(
    RENDERERS.map((name): [string, Work] => {
      const render = rendererOf(name)(CHAT_TEMPLATE)
      return [name, (chat) => render(all[chat] ?? {})]
    }),
  )
  const ratios: Record<string, number[]> = {}
  for (let run = 0; run < runs; run += 1) {
    const us = await mediansOf(works, count)
    for (const name of RENDERERS.slice(1)) (ratios[name] ??= []).push((us[name] ?? 0) / (us['Hearth'] ?? 0))
  }
  return Object.entries(ratios).map(([name, values]) =>
    metricOf(higher(`a chat rendered, over ${name}`, '×'), values),
  )
}

async function rendering(options: BenchOptions): Promise<Metric[]> {
  const metrics: Metric[] = []
  for (const name of RENDERERS) {
    options.note(`templates: ${name}`)
    const goal = name === 'Hearth' ? { bound: FIDELITY_MIN } : {}
    const all = name === 'Hearth' ? { bound: 100 } : {}
    const same = await fidelityOf(name, options.quick)
    metrics.push(metricOf(higher(`templates that give Python's text, ${name}`, '%', goal), [same]))
    metrics.push(
      metricOf(higher(`hostile templates contained, ${name}`, '%', all), [await containedBy(name)]),
    )
  }
  return metrics
}

type Row = [text: string, special: number[] | null, bare: number[]]

/** The share of texts that have Rust's tokens, %. */
function tokenizerFidelity(make: (file: object) => (text: string) => number[]): number {
  const cases = JSON.parse(readFileSync(GOLDENS, 'utf8')) as [name: string, file: object, rows: Row[]][]
  let [same, total] = [0, 0]
  for (const [, file, rows] of cases) {
    for (const [text, special, bare] of rows) {
      total += 1
      same += idsOf(make, file, text) === (special === null ? 'refused' : bare.join()) ? 1 : 0
    }
  }
  return (100 * same) / total
}

const made = new WeakMap<object, Map<unknown, (text: string) => number[]>>()

function idsOf(make: (file: object) => (text: string) => number[], file: object, text: string): string {
  const known = made.get(file) ?? new Map<unknown, (text: string) => number[]>()
  made.set(file, known)
  try {
    const encode = known.get(make) ?? make(file)
    known.set(make, encode)
    return encode(text).join()
  } catch (error) {
    return error instanceof TokenizeError ? 'refused' : 'failed'
  }
}

function tokenizers(): Metric[] {
  const ours = tokenizerFidelity((file) => {
    const tokenizer = new Tokenizer(file)
    return (text) => tokenizer.encode(text, false)
  })
  const old = tokenizerFidelity((file) => {
    const tokenizer = oldTokenizer(file, {})
    return (text) => tokenizer.encode(text, { add_special_tokens: false }).ids
  })
  return [
    metricOf(higher("texts that get Rust's tokens, Hearth", '%', { bound: 100 }), [ours]),
    metricOf(higher("texts that get Rust's tokens, @huggingface/tokenizers", '%'), [old]),
  ]
}

const bench: Bench = {
  question: 'How fast and how true are chat templates and tokenizers, beside the usual libraries?',
  async run(options) {
    if (!hasLibraries()) {
      options.note('the other libraries are missing: cd bench/peers && npm ci')
      return []
    }
    const parts: [name: string, run: () => Promise<Metric[]> | Metric[]][] = [
      ...KINDS.map((kind): [string, () => Promise<Metric[]>] => [
        `chat to tokens ${kind.name}`,
        () => speedOf(kind, options),
      ]),
      ["texts that get Rust's tokens", tokenizers],
      ["templates that give Python's text", () => rendering(options)],
      ['a chat rendered', () => renderingSpeed(options)],
    ]
    const metrics: Metric[] = []
    for (const [name, run] of parts) {
      if (options.only !== undefined && !name.includes(options.only)) continue
      options.note(name)
      metrics.push(...(await run()))
    }
    return metrics
  },
}

export default bench
