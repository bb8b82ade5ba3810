import { expect, test } from 'vitest'
import { Turns } from '../../../src/base/waiting/turns.ts'

test('work runs one piece at a time, in the order of asking, also after a failure', async () => {
  const turns = new Turns()
  const log: string[] = []
  const first = Promise.withResolvers<void>()
  const one = turns.run(async () => {
    log.push('one begins')
    await first.promise
    log.push('one fails')
    throw new Error('broken')
  })
  const two = turns.run(async () => {
    log.push('two')
    return await Promise.resolve(2)
  })
  first.resolve()
  await expect(one).rejects.toThrow('broken')
  await expect(two).resolves.toBe(2)
  expect(log).toEqual(['one begins', 'one fails', 'two'])
})

test('all is settled once the last piece is, also when it failed', async () => {
  const turns = new Turns()
  let isDone = false
  const work = turns.run(async () => {
    await Promise.resolve()
    isDone = true
    throw new Error('broken')
  })
  await turns.settled()
  expect(isDone).toBe(true)
  await expect(work).rejects.toThrow('broken')
})
