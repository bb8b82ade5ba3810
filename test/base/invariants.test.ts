import { describe, expect, test } from 'vitest'
import {
  areStepsChecked,
  checksAskedFor,
  impossible,
  invariant,
  isCheckDue,
  present,
} from '../../src/base/invariants.ts'

describe('invariants', () => {
  test('are checked after every step in tests', () => {
    expect(areStepsChecked()).toBe(true)
  })

  test('of a large state are checked after several steps, so that each costs the same', () => {
    const state = { uncheckedSteps: 0 }
    const dueIn = (entries: number): boolean[] => Array.from({ length: 6 }, () => isCheckDue(state, entries))
    expect(dueIn(64)).toEqual([true, true, true, true, true, true])
    expect(dueIn(150)).toEqual([false, false, true, false, false, true])
  })

  test('name themselves and the values that broke them, as a defect', () => {
    const error = impossible('a peer has too many chunks', { peer: 'a', chunks: 3 })
    expect(error).toMatchObject({
      code: 'internal',
      message: 'a peer has too many chunks (peer=a, chunks=3)',
    })
    expect(error.data).toEqual({ invariant: 'a peer has too many chunks', peer: 'a', chunks: 3 })
  })

  test('throw unless they hold', () => {
    expect(() => invariant(true, 'it holds')).not.toThrow()
    expect(() => invariant(false, 'it holds', { n: 1 })).toThrow('it holds (n=1)')
    expect(present(0, 'a number is there')).toBe(0)
    expect(() => present(undefined, 'a number is there')).toThrow('a number is there')
  })

  test.each([
    [{}, undefined],
    [{ HEARTH_CHECK: '' }, undefined],
    [{ HEARTH_CHECK: '1' }, true],
    [{ HEARTH_CHECK: '0' }, false],
  ])('%j asks for %s', (environment, asked) => {
    expect(checksAskedFor(environment)).toBe(asked)
  })

  test('a value that is neither 1 nor 0 is refused', () => {
    expect(() => checksAskedFor({ HEARTH_CHECK: 'yes' })).toThrow('HEARTH_CHECK must be 1')
  })
})
