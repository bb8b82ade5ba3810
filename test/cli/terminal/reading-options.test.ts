import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { REQUEST_BOUNDS } from '../../../src/inference/contract/request-bounds.ts'
import { readTextRequest } from '../../../src/inference/text/openai-request.ts'
import {
  addReadingOptions,
  readingOf,
  type ReadingOptions,
} from '../../../src/cli/terminal/reading-options.ts'

function given(...parameters: string[]): ReadingOptions {
  const command = addReadingOptions(new Command())
  command.parse(parameters, { from: 'user' })
  return command.opts<ReadingOptions>()
}

describe('sampling options of a job', () => {
  test('become the settings that a line has when it does not say otherwise, under the names of its body', () => {
    const options = given(
      '--max-tokens=8',
      '--temperature=0.7',
      '--top-p=0.9',
      '--top-k=40',
      '--min-p=0.05',
      '--repetition-penalty=1.1',
      '--seed=7',
      '--stop=END',
      '--stop=###',
    )
    expect(readingOf('batch.jsonl', options).defaults).toEqual({
      max_tokens: 8,
      temperature: 0.7,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      repetition_penalty: 1.1,
      seed: 7,
      stop: ['END', '###'],
    })
    expect(readingOf('batch.jsonl', given()).defaults).toEqual({})
  })

  test.each([
    ['--top-k', '1.5', '--top-k takes a whole number from -1, not "1.5"'],
    ['--top-k', '-2', '--top-k takes a whole number from -1, not "-2"'],
    ['--max-tokens', '0', '--max-tokens takes a whole number from 1, not "0"'],
    ['--max-tokens', '1e20', '--max-tokens takes a whole number from 1, not "1e20"'],
    ['--temperature', 'hot', '--temperature takes a number from 0 to 100, not "hot"'],
    ['--temperature', '101', '--temperature takes a number from 0 to 100, not "101"'],
    ['--top-p', '0', '--top-p takes a number above 0 up to 1, not "0"'],
    ['--top-p', '1.01', '--top-p takes a number above 0 up to 1, not "1.01"'],
    ['--min-p', '2', '--min-p takes a number from 0 to 1, not "2"'],
    ['--repetition-penalty', '0', '--repetition-penalty takes a number above 0 up to 100, not "0"'],
    ['--seed', '9007199254740993', '--seed takes a whole number, not "9007199254740993"'],
    ['--stop', '', '--stop takes a text of 1 to 256 characters, and may be given 16 times'],
  ])('%s %s is refused, saying what it takes', (flag, value, message) => {
    expect(() => readingOf('batch.jsonl', given(`${flag}=${value}`))).toThrow(message)
  })

  test('have no meaning for embeddings', () => {
    const options = given('--max-tokens=8', '--endpoint=/v1/embeddings')
    expect(() => readingOf('prompts.txt', options)).toThrow(
      '--max-tokens cannot be combined with --endpoint /v1/embeddings',
    )
  })

  test('are taken by the engine at their bounds, and not beyond', () => {
    const messages = [{ role: 'user', content: 'Hi' }]
    const isRead = (body: object): boolean => {
      try {
        readTextRequest({ url: '/v1/chat/completions', body: { messages, ...body } })
        return true
      } catch {
        return false
      }
    }
    for (const [field, { isWhole = false, least, most, above }] of Object.entries(REQUEST_BOUNDS)) {
      const step = isWhole ? 1 : 1e-9
      const inside = [least, most, above === undefined ? undefined : above + step]
      const outside = [
        least === undefined ? undefined : least - step,
        most === undefined ? undefined : most + step,
        above,
      ]
      for (const value of inside) if (value !== undefined) expect(isRead({ [field]: value })).toBe(true)
      for (const value of outside) if (value !== undefined) expect(isRead({ [field]: value })).toBe(false)
      expect(isRead({ [field]: 0.5 })).toBe(!isWhole)
    }
  })
})
