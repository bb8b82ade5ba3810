import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HearthProcess } from '../../src/cli/terminal/child-process.ts'
import { readOutput, TestSwarm, type RunningPeer } from '../../testing/process-swarm.ts'

let swarm: TestSwarm
let peer: RunningPeer
beforeEach(async () => {
  swarm = await TestSwarm.create()
  await swarm.importFacts('a')
  peer = await swarm.up('a')
})
afterEach(() => swarm.dispose())

/** A command on the peer's own data folder; resolves with its first event when it has ended. */
async function hearth(...parameters: string[]): Promise<Record<string, unknown>> {
  const child = swarm.hearth(...parameters, '--data', peer.data.path)
  await child.exited
  return child.events[0] ?? {}
}

describe('jobs that the peer carries', () => {
  test('a detached job runs without its submitter; it can be shown, watched, read and drawn', async () => {
    const output = swarm.path('out.jsonl')
    const handed = swarm.hearth(
      'submit',
      await swarm.claims(300),
      '--context',
      'facts',
      '-o',
      output,
      '--detach',
      '--data',
      peer.data.path,
    )
    const { jobId } = await handed.event('job', 30_000)
    expect(await handed.exited).toBe(0)
    const watch = swarm.hearth('job', 'watch', String(jobId).slice(0, 8), '--data', peer.data.path)
    expect(await watch.exited).toBe(0)
    expect(await readOutput(output)).toHaveLength(300)
    expect(await shown(String(jobId))).toMatchObject({
      state: 'done',
      requests: 300,
      committed: 300,
      failed: 0,
    })
    const report = await hearth('job', 'report', String(jobId))
    const page = await readFile(String(report['output']), 'utf8')
    expect(page).toContain('300 requests committed')
    expect(page).toContain('300 results')
    await fromAnotherMachine(String(jobId), output)
  })

  test('a detached job goes on when its peer is killed and started again', async () => {
    const output = swarm.path('out.jsonl')
    const input = await swarm.claims(3000)
    const handed = swarm.hearth(
      'submit',
      input,
      '--context',
      'facts',
      '-o',
      output,
      '--detach',
      '--data',
      peer.data.path,
    )
    const { jobId } = await handed.event('job', 30_000)
    await untilCommitted(String(jobId), 200)
    peer.process.kill('SIGKILL')
    await peer.process.exited
    const before = Number((await shown(String(jobId)))['committed'])
    expect(before).toBeLessThan(3000)
    peer = await swarm.up('a')
    await swarm.hearth('job', 'watch', String(jobId), '--data', peer.data.path).exited
    expect(await shown(String(jobId))).toMatchObject({ state: 'done', committed: 3000, failed: 0 })
    expect(await readOutput(output)).toHaveLength(3000)
  })

  test('a job that is moved goes on at another machine, and its results come back', async () => {
    const { key: line } = await hearth('owner', 'export')
    const key = await swarm.file('owner.txt', String(line))
    const data = swarm.path('desktop')
    expect(await swarm.hearth('owner', 'import', key, '--data', data).exited).toBe(0)
    const desktop = await swarm.up('desktop')
    const output = swarm.path('out.jsonl')
    const submit = ['submit', await swarm.claims(600), '--context', 'facts', '-o', output, '--detach']
    const { jobId } = await hearth(...submit)
    expect(await hearth('job', 'move', String(jobId), '--to', desktop.peerId)).toMatchObject({
      event: 'job-moved',
      peer: desktop.peerId,
    })
    expect(await hearth(...submit)).toMatchObject({ event: 'error', code: 'data-in-use' })
    await swarm.hearth('job', 'watch', String(jobId), '--data', data).exited
    const done = { state: 'done', committed: 600, failed: 0, peer: desktop.peerId }
    expect(await shown(String(jobId))).toMatchObject(done)
    await hearth('job', 'results', String(jobId), '-o', output)
    expect(await readOutput(output)).toHaveLength(600)
  })

  test('a cancelled job has an error line for what was not answered; a retry answers exactly those', async () => {
    const output = swarm.path('out.jsonl')
    const input = await swarm.claims(3000)
    const handed = swarm.hearth(
      'submit',
      input,
      '--context',
      'facts',
      '-o',
      output,
      '--detach',
      '--data',
      peer.data.path,
    )
    const { jobId } = await handed.event('job', 30_000)
    await untilCommitted(String(jobId), 100)
    await hearth('job', 'cancel', String(jobId))
    const cancelled = await readOutput(output)
    const unanswered = cancelled.filter((line) => line.error?.code === 'batch_cancelled').length
    expect(cancelled).toHaveLength(3000)
    expect(unanswered).toBeGreaterThan(0)
    expect(await shown(String(jobId))).toMatchObject({ state: 'cancelled', failed: unanswered })
    const retry = swarm.hearth('job', 'retry', String(jobId), '--data', peer.data.path)
    expect(await retry.event('job', 30_000)).toMatchObject({ committed: 3000 - unanswered })
    expect(await retry.event('job-summary', 60_000)).toMatchObject({ committed: 3000, failed: 0 })
    expect((await readOutput(output)).every((line) => line.error === null)).toBe(true)
  })

  test('records and a template make prompts; results come out by their ids', async () => {
    const input = await swarm.file('claims.csv', 'id,country,city\n7,France,Paris\n8,France,Oslo\n')
    const output = swarm.path('out.jsonl')
    const submit = swarm.submit(
      input,
      output,
      '--template',
      '{city} is the capital of {country}.',
      '--max-tokens',
      '24',
    )
    expect(await submit.event('job-summary', 60_000)).toMatchObject({ committed: 2, failed: 0 })
    const answers = (await readOutput(output)).map((line) => [
      line.custom_id,
      line.response?.body.choices[0]?.message.content,
    ])
    expect(answers).toEqual([
      ['7', 'The capital of France is Paris. yes'],
      ['8', 'The capital of France is Paris. no'],
    ])
  })
})

/** A machine on which no peer runs: it needs the owner key and a door to the swarm. */
async function fromAnotherMachine(jobId: string, output: string): Promise<void> {
  const laptop = ['--data', swarm.path('laptop')]
  const door = [...laptop, '--bootstrap', peer.address]
  const { key: line } = await hearth('owner', 'export')
  const key = await swarm.file('owner.txt', String(line))
  expect(await swarm.hearth('owner', 'import', key, ...laptop).exited).toBe(0)
  const listed = swarm.hearth('job', 'ls', '--json', ...door)
  expect(await listed.exited).toBe(0)
  expect(listed.lastLine).toEqual([expect.objectContaining({ jobId, state: 'done', peer: peer.peerId })])
  const copy = swarm.path('copy.jsonl')
  expect(await swarm.hearth('job', 'results', jobId.slice(0, 8), '-o', copy, ...door).exited).toBe(0)
  expect(await readFile(copy, 'utf8')).toBe(await readFile(output, 'utf8'))
}

async function shown(jobId: string): Promise<Record<string, unknown>> {
  const child = new HearthProcess(['job', 'show', jobId, '--data', peer.data.path])
  await child.exited
  return child.lastLine as Record<string, unknown>
}

async function untilCommitted(jobId: string, committed: number): Promise<void> {
  const watch = swarm.hearth('job', 'watch', jobId, '--data', peer.data.path)
  await watch.event('progress', 60_000, (event) => Number(event['committed']) >= committed)
  watch.kill('SIGKILL')
}
