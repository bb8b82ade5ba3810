import { expect, test } from 'vitest'
import { CrashSuspects } from '../../../src/inference/host/crash-suspects.ts'
import { EngineCrash } from '../../../src/inference/host/engine-crash.ts'

const crash = (suspects: number): EngineCrash => new EngineCrash('crashed', suspects, { isKill: false })

test('a run that only shared the process with others outlives any number of crashes', async () => {
  const suspects = new CrashSuspects()
  let crashes = 0
  const answer = await suspects.run(async () => {
    crashes += 1
    if (crashes <= 20) throw crash(crashes % 2 === 0 ? 0 : 2)
    return 'answer'
  })
  expect(answer).toBe('answer')
})

test('an innocent suspect is answered after any number of suspects that crash alone', async () => {
  const suspects = new CrashSuspects()
  const culprits = Array.from({ length: 20 }, () =>
    suspects.run(async (isAlone) => {
      throw crash(isAlone ? 1 : 21)
    }),
  )
  const innocent = suspects.run(async (isAlone) => {
    if (!isAlone) throw crash(21)
    return 'answer'
  })
  const settled = await Promise.allSettled([...culprits, innocent])
  expect(settled.slice(0, -1).map(({ status }) => status)).toEqual(culprits.map(() => 'rejected'))
  expect(settled.at(-1)).toEqual({ status: 'fulfilled', value: 'answer' })
  expect(suspects.isBusy).toBe(false)
})
