import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
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
    ['--top-k', '1.5', '--top-k takes a whole number from 0, not "1.5"'],
    ['--max-tokens', '0', '--max-tokens takes a whole number from 1, not "0"'],
    ['--temperature', 'hot', '--temperature takes a number from 0, not "hot"'],
    ['--top-p', '0', '--top-p is "0", but must be a number above 0 and at most 1'],
    [
      '--repetition-penalty',
      '0',
      '--repetition-penalty is "0", but must be a number above 0 and at most 100',
    ],
  ])('%s %s is refused, saying what it takes', (flag, value, message) => {
    expect(() => readingOf('batch.jsonl', given(flag, value))).toThrow(message)
  })
})
