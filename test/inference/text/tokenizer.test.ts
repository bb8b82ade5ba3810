// Tokenizers of every kind against Rust's `tokenizers`.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { TokenizeError } from '../../../src/inference/text/tokenizer/parts.ts'
import { Tokenizer } from '../../../src/inference/text/tokenizer/tokenizer.ts'

/** With special tokens, without, and the texts of those ids; null where Rust refuses the text. */
type TextRow = [text: string, special: number[] | null, bare: number[], plain: string, whole: string]
type Case = [name: string, json: object, texts: TextRow[], decoded: [ids: number[], text: string][]]

const CASES = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../fixtures/tokenizer-goldens.json'), 'utf8'),
) as Case[]

/**
 * Rust 0.23 prints an added token as its normalizer leaves it, releases before it as it is written, and so do
 * we: of these tokenizers only the ids are held.
 */
const PRINTED_OTHERWISE = 'normalized tokens'

function run(tokenizer: Tokenizer, text: string): unknown[] {
  try {
    const special = tokenizer.encode(text, true)
    const bare = tokenizer.encode(text, false)
    const plain = tokenizer.decode(bare, { skipsSpecialTokens: true })
    return [text, special, bare, plain, tokenizer.decode(special, { skipsSpecialTokens: false })]
  } catch (error) {
    if (error instanceof TokenizeError) return [text, null]
    throw error
  }
}

test('there are enough of them', () => {
  expect(CASES.length).toBeGreaterThan(40)
  expect(CASES.flatMap(([, , texts, decoded]) => [...texts, ...decoded]).length).toBeGreaterThan(2_000)
})

describe.each(CASES)('%s', (name, json, texts, decoded) => {
  const tokenizer = new Tokenizer(json)

  test('texts have the ids that Rust gives, and those ids its text', () => {
    const columns = name === PRINTED_OTHERWISE ? 3 : 5
    const held = (row: unknown[]): unknown[] => row.slice(0, columns)
    expect(texts.map(([text]) => held(run(tokenizer, text)))).toEqual(texts.map(held))
  })

  test.runIf(name !== PRINTED_OTHERWISE)('any ids have the text that Rust gives', () => {
    expect(decoded.map(([ids]) => [ids, tokenizer.decode(ids, { skipsSpecialTokens: true })])).toEqual(
      decoded,
    )
  })
})
