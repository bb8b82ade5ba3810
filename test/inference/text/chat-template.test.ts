// Chat templates against Python's jinja2, set up as transformers does.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Template } from '../../../src/inference/text/jinja/template.ts'
import { TextCodec } from '../../../src/inference/text/text-codec.ts'

interface Goldens {
  setup: { wallMs: number; variables: Record<string, unknown> }
  /** A template, and what jinja2 makes of it: null where it refuses. */
  cases: [string, string | null][]
}

const { setup, cases } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../fixtures/template-goldens.json'), 'utf8'),
) as Goldens

/** What is refused at load although jinja2 renders it: chance, an object's address, a table of Unicode's. */
const REFUSED_AT_LOAD = /random|self|casefold/

const make = (source: string): Template => new Template(source, () => setup.wallMs)

function rendered(source: string): string | null | undefined {
  let template: Template
  try {
    template = make(source)
  } catch {
    return undefined
  }
  try {
    return template.render(setup.variables)
  } catch {
    return null
  }
}

test('every template gives what jinja2 gives, or is refused where it is', () => {
  const different = cases.filter(([source, expected]) => {
    const output = rendered(source)
    if (output === undefined) return expected !== null && !REFUSED_AT_LOAD.test(source)
    return output !== expected
  })
  expect(cases.length).toBeGreaterThan(4_000)
  expect(different).toEqual([])
})

test('few templates that jinja2 renders are refused at load', () => {
  const refused = cases.filter(([source, expected]) => expected !== null && rendered(source) === undefined)
  expect(refused.length).toBeLessThan(cases.length * 0.002)
})

describe('a template that would take for ever or fill the memory ends with an error', () => {
  test.each([
    ['a range of a billion', '{% for i in range(1000000000) %}{% endfor %}', /range is over/],
    [
      'nested loops',
      '{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}',
      /more than 10000000 steps/,
    ],
    ['a repeated text', "{{ 'x' * 1000000000 }}", /makes a text/],
    [
      'a text that doubles',
      "{% set ns = namespace(a='xxxxxxxxxx') %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
      /makes a text/,
    ],
    [
      'a list that doubles',
      '{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}',
      /makes a list/,
    ],
    ['a wide text', "{{ 'x'.center(1000000000) }}", /padded/],
    ['a macro that calls itself', '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', /call stack/],
  ])('%s', (_name, source, why) => {
    expect(() => make(source).render({})).toThrow(why)
  })
})

test('statements, filters and methods that are not supported are refused by name when the template is read', () => {
  expect(() => make("{% include 'other' %}")).toThrow('line 1: the statement "include" is not supported')
  expect(() => make('a\n\n{{ x | nosuch }}')).toThrow('line 3: the filter "nosuch" is not supported')
  expect(() => make('{{ x is nosuch }}')).toThrow('the test "nosuch" is not supported')
  expect(() => make('{{ x.encode() }}')).toThrow('the method "encode" is not supported')
  expect(() => make("{{ ('<' | safe) ~ x }}")).toThrow('the filter "safe" is supported only last')
})

test('a template that cannot be rendered is no context', () => {
  const tokenizer = { model: { type: 'WordLevel', vocab: { a: 0 }, unk_token: 'a' } }
  const open = (chatTemplate: string): TextCodec =>
    new TextCodec({ tokenizer, tokenizerConfig: {}, chatTemplate }, () => 0)
  expect(() => open('{{ messages | length }}')).not.toThrow()
  expect(() => open('{{ messages | xmlattr }}')).toThrow(
    /cannot render the chat template: .*the filter "xmlattr" is not supported.*chat_template\.jinja/,
  )
})
