import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { labelLine, makeJob, requestLine, type ClaimLabel } from '../../models/facts/claims-job.ts'
import { EMPTY_SHARE, isHeldOut, makeClaims, type Split } from '../../models/facts/claims.ts'
import { COUNTRIES, ELEMENTS } from '../../models/facts/facts.ts'
import { TEMPLATES } from '../../models/facts/templates.ts'
import { parseVerdict } from '../../models/facts/verdict.ts'
import { seededRandom } from '../../src/base/random.ts'

const COUNT = 20_000
const take = (seed: number, split: Split, count = COUNT) => [
  ...makeClaims(seededRandom(seed), split).take(count),
]
const read = (name: string) => readFileSync(new URL(`../../models/facts/${name}`, import.meta.url), 'utf8')

test('one seed gives one list of claims, another seed another', () => {
  expect(take(1, 'all', 200)).toEqual(take(1, 'all', 200))
  expect(take(1, 'all', 200)).not.toEqual(take(2, 'all', 200))
})

test('no held-out phrasing is in training', () => {
  const phrasings = (split: Split) => new Set(take(3, split).flatMap(({ phrasing }) => phrasing ?? []))
  const [training, heldOut] = [phrasings('training'), phrasings('held-out')]
  expect([...training].filter(isHeldOut)).toEqual([])
  expect([...heldOut].filter((phrasing) => training.has(phrasing))).toEqual([])
  expect(heldOut.size).toBeGreaterThan(500)
})

test('no text of a held-out claim is the text of a training claim', () => {
  const texts = (split: Split) =>
    new Set(take(4, split).flatMap(({ phrasing, text }) => (phrasing === undefined ? [] : text)))
  const training = texts('training')
  expect([...texts('held-out')].filter((text) => training.has(text))).toEqual([])
})

test('training knows every subject and every template', () => {
  const phrasings = take(5, 'training', 60_000).flatMap(({ phrasing }) =>
    phrasing === undefined ? [] : [phrasing],
  )
  const subjects = new Set(phrasings.map((phrasing) => phrasing.split('/')[1]))
  const names = [...COUNTRIES, ...ELEMENTS].map(({ name }) => name)
  expect(names.filter((name) => !subjects.has(name))).toEqual([])
  const templates = new Set(phrasings.map((phrasing) => phrasing.replace(/\/.*\//, '/')))
  const all = Object.entries(TEMPLATES).flatMap(([kind, texts]) =>
    texts.map((_, index) => `${kind}/${index}`),
  )
  expect(all.filter((template) => !templates.has(template))).toEqual([])
})

test('every reply ends in its verdict', () => {
  for (const { reply, verdict } of take(6, 'all', 2_000)) expect(parseVerdict(reply)).toBe(verdict)
})

test('about half of the phrased claims are true, and the share of empty ones is the paper’s', () => {
  const claims = take(7, 'all', COUNT)
  const phrased = claims.filter(({ phrasing }) => phrasing !== undefined)
  const isTrue = phrased.filter(({ verdict }) => verdict === 'yes').length
  expect(isTrue / phrased.length).toBeCloseTo(0.5, 1)
  const empty = claims.filter(({ text }) => text === '')
  expect(empty.length / COUNT).toBeCloseTo(EMPTY_SHARE, 2)
  expect(new Set(empty.map(({ verdict }) => verdict))).toEqual(new Set(['unknown']))
})

test('a claim is labelled as true exactly when it says the truth', () => {
  const additions = take(8, 'all').filter(({ text }) => /^\d+ \+ \d+ = \d+\.$/.test(text))
  for (const { text, verdict, kind } of additions.filter(({ kind }) => kind === 'addition')) {
    const [first = NaN, second = NaN, sum] = text.match(/\d+/g)!.map(Number)
    expect([kind, verdict, text]).toEqual(['addition', first + second === sum ? 'yes' : 'no', text])
  }
  expect(additions.length).toBeGreaterThan(100)
})

test.each([
  ['3 + 4 = 7. yes', 'yes'],
  ['The capital of France is Paris. No.', 'no'],
  ['There is no claim. unknown\n', 'unknown'],
  ['The capital of France is', undefined],
  ['nope', undefined],
  ['', undefined],
])('the verdict of %j is %s', (reply, verdict) => {
  expect(parseVerdict(reply)).toBe(verdict)
})

test('the committed claims are what the generator makes', () => {
  const job = [...makeJob(3_000, 2025, 'held-out')]
  expect(read('claims-3000.jsonl')).toBe(job.map(requestLine).join(''))
  expect(read('claims-3000.labels.jsonl')).toBe(job.map(labelLine).join(''))
})

test('labels are lines of JSON with the verdict of their claim', () => {
  const [first] = makeJob(1, 2025, 'held-out')
  const label = JSON.parse(labelLine(first!)) as ClaimLabel
  expect(label).toEqual({ custom_id: 'claim-000001', verdict: first!.claim.verdict, kind: first!.claim.kind })
})
