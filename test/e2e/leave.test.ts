import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { TestSwarm, progressOf, readOutput } from '../../testing/process-swarm.ts'

let swarm: TestSwarm
beforeEach(async () => {
  swarm = await TestSwarm.create()
})
afterEach(async () => {
  await swarm.dispose()
})

describe('a peer that is told to leave in the middle of a job', () => {
  test('gives its requests back, hands its model over, and the job ends without it', async () => {
    const input = await swarm.claims(1500)
    await swarm.importFacts('a')
    await swarm.up('a')
    const leaving = await swarm.up('b')
    const submit = swarm.submit(input, swarm.path('out.jsonl'))
    await progressOf(submit, 100)
    leaving.process.kill('SIGTERM')
    expect(await leaving.process.exited).toBe(0)
    expect(leaving.process.events.map(({ event }) => event)).toContain('left')
    const summary = await submit.event('job-summary', 60_000)
    expect(summary).toMatchObject({ committed: 1500, failed: 0 })
    expect(await readOutput(swarm.path('out.jsonl'))).toHaveLength(1500)
  })
})
