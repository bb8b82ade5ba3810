// Labelled claims, made from a seed. A *phrasing* is one subject said with one template ("France" with
// "{object} is the capital of {subject}."). About one phrasing in seven is held out: no training
// claim uses it, though its subject and its template both occur in training with others.
import { createHash } from 'node:crypto'
import { pick, randomInteger, type Random } from '../../src/base/random.ts'
import {
  CONTINENTS,
  COUNTRIES,
  ELEMENTS,
  NUMBER_MAX,
  TERM_MAX,
  UNFAMILIAR_CLAIMS,
  UNFAMILIAR_NAMES,
} from './facts.ts'
import { EVIDENCE, fillTemplate, TEMPLATES, type Kind, type PhrasedKind } from './templates.ts'
import type { Verdict } from './verdict.ts'

export interface Claim {
  kind: Kind
  /** What the user says; empty for an empty claim. */
  text: string
  verdict: Verdict
  /** What the model should say: the evidence, then the verdict as the last word. */
  reply: string
  /** Which phrasing it is, as `kind/subject/template`; absent for the kinds that have none. */
  phrasing?: string
}

/** Which phrasings claims are made from. */
export type Split = 'training' | 'held-out' | 'all'

/** What a claim can be about, and what is true of it. */
interface Subject {
  key: string
  slots: Readonly<Record<string, string>>
  truth: string
  /** Something that is not true of it. */
  lie: (random: Random) => string
}

interface Phrasing {
  kind: PhrasedKind
  subject: Subject
  template: string
  id: string
}

/** The paper pads 145,449 claims with empty ones to 150,000. */
export const EMPTY_SHARE: number = 4_551 / 150_000

const UNFAMILIAR_SHARE = 0.03
const KIND_SHARES: readonly [kind: PhrasedKind, share: number][] = [
  ['capital', 0.35],
  ['element', 0.2],
  ['addition', 0.35],
  ['continent', 0.1],
]

const HELD_OUT_ONE_IN = 7
const TRUE_SHARE = 0.5
const UNFAMILIAR_LIE_SHARE = 0.05
const SALAD_WORDS_MAX = 24
const SALAD_WORDS = [
  ...Object.values(TEMPLATES).flatMap((templates) => templates.join(' ').split(' ')),
  ...COUNTRIES.flatMap(({ name, capital }) => [name, capital]),
  ...Array.from({ length: NUMBER_MAX }, (_, number) => String(number)),
].filter((word) => !word.includes('{'))
const LIE_OFFSETS = [-10, -4, -3, -2, -1, 1, 2, 3, 4, 10]

/** Whether no training claim may use this phrasing (`kind/subject/template`). */
export function isHeldOut(phrasing: string): boolean {
  return createHash('sha256').update(phrasing).digest().readUInt32BE(0) % HELD_OUT_ONE_IN === 0
}

function pickOne<T>(random: Random, items: readonly T[]): T {
  const item = pick(random, items)
  if (item === undefined) throw new RangeError('nothing to pick from')
  return item
}

/** A name from `names` that is not `truth`; now and then one that the model cannot know. */
function lieFrom(names: readonly string[], truth: string): (random: Random) => string {
  const others = names.filter((name) => name !== truth)
  return (random) => pickOne(random, random.next() < UNFAMILIAR_LIE_SHARE ? UNFAMILIAR_NAMES : others)
}

function namedSubject(name: string, truth: string, names: readonly string[]): Subject {
  return { key: name, slots: { subject: name }, truth, lie: lieFrom(names, truth) }
}

function additionSubject(first: number, second: number): Subject {
  const sum = first + second
  const lies = LIE_OFFSETS.map((offset) => sum + offset).filter((lie) => lie >= 0)
  return {
    key: `${first}+${second}`,
    slots: { first: String(first), second: String(second) },
    truth: String(sum),
    lie: (random) => String(pickOne(random, lies)),
  }
}

const TERMS = Array.from({ length: TERM_MAX + 1 }, (_, term) => term)

const SUBJECTS: Readonly<Record<PhrasedKind, readonly Subject[]>> = {
  capital: COUNTRIES.map(({ name, capital }) =>
    namedSubject(
      name,
      capital,
      COUNTRIES.map((country) => country.capital),
    ),
  ),
  element: ELEMENTS.map(({ name, symbol }) =>
    namedSubject(
      name,
      symbol,
      ELEMENTS.map((element) => element.symbol),
    ),
  ),
  addition: TERMS.flatMap((first) => TERMS.map((second) => additionSubject(first, second))),
  continent: COUNTRIES.map(({ name, continent }) => namedSubject(name, continent, CONTINENTS)),
}

function listPhrasings(kind: PhrasedKind, split: Split): Phrasing[] {
  return SUBJECTS[kind]
    .flatMap((subject) =>
      TEMPLATES[kind].map((template, index) => ({
        kind,
        subject,
        template,
        id: `${kind}/${subject.key}/${index}`,
      })),
    )
    .filter(({ id }) => split === 'all' || isHeldOut(id) === (split === 'held-out'))
}

function replyOf(kind: Kind, slots: Readonly<Record<string, string>>, verdict: Verdict): string {
  return `${fillTemplate(EVIDENCE[kind], slots)} ${verdict}`
}

function makePhrased({ kind, subject, template, id }: Phrasing, random: Random): Claim {
  const isTrue = random.next() < TRUE_SHARE
  const object = isTrue ? subject.truth : subject.lie(random)
  const verdict = isTrue ? 'yes' : 'no'
  return {
    kind,
    text: fillTemplate(template, { ...subject.slots, object }),
    verdict,
    reply: replyOf(kind, { ...subject.slots, object: subject.truth }, verdict),
    phrasing: id,
  }
}

function makeEmpty(): Claim {
  return { kind: 'empty', text: '', verdict: 'unknown', reply: replyOf('empty', {}, 'unknown') }
}

/** A claim of a familiar form about a name, or a term of an addition, that the model was never told of. */
function makeUnfamiliarForm(random: Random): string {
  const kind = pickOne(random, ['capital', 'element', 'addition', 'continent'] as const)
  const model = pickOne(random, SUBJECTS[kind])
  const strange =
    kind === 'addition'
      ? String(TERM_MAX + 1 + randomInteger(random, NUMBER_MAX - TERM_MAX))
      : pickOne(random, UNFAMILIAR_NAMES)
  const replaced = pickOne(random, Object.keys(model.slots))
  const slots = { ...model.slots, object: model.truth, [replaced]: strange }
  return fillTemplate(pickOne(random, TEMPLATES[kind]), slots)
}

/** Words in no order, some of them strange. */
function makeUnfamiliarSalad(random: Random): string {
  const words = Array.from({ length: 1 + randomInteger(random, SALAD_WORDS_MAX) }, () =>
    pickOne(random, random.next() < 0.5 ? UNFAMILIAR_NAMES : SALAD_WORDS),
  )
  return [pickOne(random, UNFAMILIAR_NAMES), ...words].join(' ')
}

function makeUnfamiliar(random: Random): Claim {
  const make = pickOne(random, [
    makeUnfamiliarForm,
    makeUnfamiliarSalad,
    () => pickOne(random, UNFAMILIAR_CLAIMS),
  ])
  return {
    kind: 'unfamiliar',
    text: make(random),
    verdict: 'unknown',
    reply: replyOf('unfamiliar', {}, 'unknown'),
  }
}

function pickKind(random: Random): Kind {
  let draw = random.next()
  if ((draw -= EMPTY_SHARE) < 0) return 'empty'
  if ((draw -= UNFAMILIAR_SHARE) < 0) return 'unfamiliar'
  draw /= 1 - EMPTY_SHARE - UNFAMILIAR_SHARE
  return KIND_SHARES.find(([, share]) => (draw -= share) < 0)?.[0] ?? 'addition'
}

/** Endless claims: the same `random` and split give the same ones. Half of the phrased ones are true. */
export function* makeClaims(random: Random, split: Split): Generator<Claim, never> {
  const phrasings = Object.fromEntries(
    KIND_SHARES.map(([kind]) => [kind, listPhrasings(kind, split)]),
  ) as Record<PhrasedKind, Phrasing[]>
  for (;;) {
    const kind = pickKind(random)
    if (kind === 'empty') yield makeEmpty()
    else if (kind === 'unfamiliar') yield makeUnfamiliar(random)
    else yield makePhrased(pickOne(random, phrasings[kind]), random)
  }
}
