import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ERROR_CODES, HearthError, isHearthError, messageOf } from '../../src/base/errors.ts'

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
const rows = new Map(
  page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map((cells) => [cells[1]!.replaceAll('`', ''), cells.slice(2, 5)]),
)

describe('docs/errors.md', () => {
  test('lists every code, and no other', () => {
    expect([...rows.keys()].sort()).toEqual(Object.keys(ERROR_CODES).sort())
  })

  test.each(Object.entries(ERROR_CODES))('%s: its meaning, a cause and what to do', (code, meaning) => {
    const [said, cause, remedy] = rows.get(code)!
    expect(said).toBe(meaning)
    expect(cause).not.toBe('')
    expect(remedy).not.toBe('')
  })
})

describe('an error', () => {
  test('is known by its code, and keeps its data and its cause', () => {
    const cause = new Error('disk')
    const error = new HearthError('disk-full', 'no room', { data: { bytes: 3 }, cause })
    expect(isHearthError(error)).toBe(true)
    expect(isHearthError(error, 'disk-full')).toBe(true)
    expect(isHearthError(error, 'usage')).toBe(false)
    expect(error).toMatchObject({ message: 'no room', data: { bytes: 3 }, cause })
  })

  test('anything thrown has a message', () => {
    expect(messageOf(new Error('a'))).toBe('a')
    expect(messageOf('b')).toBe('b')
  })
})
