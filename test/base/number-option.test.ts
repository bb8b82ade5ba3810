import { expect, test } from 'vitest'
import { isHearthError } from '../../src/base/errors.ts'
import { numberOption, type NumberBounds } from '../../src/base/number-option.ts'

test.each<[string, NumberBounds, number]>([
  ['3', { isWhole: true, least: 3, most: 3 }, 3],
  ['0.5', { above: 0 }, 0.5],
  ['-1', {}, -1],
  ['0', { least: 0 }, 0],
])('"%s" within %o is read', (text, bounds, value) => {
  expect(numberOption('--n', text, bounds)).toBe(value)
})

test.each<[string, NumberBounds, string]>([
  ['', { least: 0 }, '--n takes a number from 0, not ""'],
  [' ', {}, '--n takes a number, not " "'],
  ['1.5', { isWhole: true, least: 1 }, '--n takes a whole number from 1, not "1.5"'],
  ['9007199254740992', { isWhole: true }, '--n takes a whole number, not "9007199254740992"'],
  ['0', { above: 0, unit: 'seconds' }, '--n takes a number of seconds above 0, not "0"'],
  ['5', { least: 1, most: 4 }, '--n takes a number from 1 to 4, not "5"'],
  ['5', { most: 4 }, '--n takes a number up to 4, not "5"'],
  ['Infinity', { least: 0 }, '--n takes a number from 0, not "Infinity"'],
  ['many', {}, '--n takes a number, not "many"'],
])('"%s" is refused by %o, saying what is taken', (text, bounds, message) => {
  const refused = (): number => numberOption('--n', text, bounds)
  expect(refused).toThrow(message)
  expect(refused).toThrow(expect.toSatisfy((error) => isHearthError(error, 'usage')))
})
