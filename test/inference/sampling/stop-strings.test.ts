import fc from 'fast-check'
import { expect, test } from 'vitest'
import { StopStrings } from '../../../src/inference/sampling/stop-strings.ts'

/** Tokens are bytes: most characters take several of them. */
const decode = (tokens: readonly number[]): string => Buffer.from(tokens).toString('utf8')

function feed(text: string, stops: string[]): { taken: number; before: string | undefined } {
  const finder = new StopStrings(stops, decode)
  const tokens = [...Buffer.from(text)]
  const at = tokens.findIndex((token) => finder.add(token))
  return { taken: at < 0 ? tokens.length : at + 1, before: finder.textBeforeStop }
}

test.each([
  ['one two three', ['two'], 'one '],
  ['aaab', ['ab'], 'aa'],
  ['naïve café', ['é'], 'naïve caf'],
  ['x🦙y🔥z', ['🔥'], 'x🦙y'],
  ['first second', ['second', 'first'], ''],
  ['no stop here', ['nowhere'], undefined],
])('%s is stopped by %j', (text, stops, before) => {
  expect(feed(text, stops).before).toBe(before)
})

test('a stop string is found as soon as it is complete, wherever tokens cut characters', () => {
  const words = fc.array(fc.constantFrom('a', 'b', 'é', '🦙', '東', ' '), { minLength: 1, maxLength: 12 })
  const stop = fc.array(fc.constantFrom('a', 'é', '🦙', ' '), { minLength: 1, maxLength: 2 })
  fc.assert(
    fc.property(words, stop, (letters, stopLetters) => {
      const [text, wanted] = [letters.join(''), stopLetters.join('')]
      const place = text.indexOf(wanted)
      const { taken, before } = feed(text, [wanted])
      expect(before).toBe(place < 0 ? undefined : text.slice(0, place))
      const end = place < 0 ? text.length : place + wanted.length
      expect(taken).toBe(Buffer.byteLength(text.slice(0, end)))
    }),
  )
})
