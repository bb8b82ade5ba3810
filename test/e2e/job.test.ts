import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Journal } from '../../src/tasks/journal/journal.ts'
import { progressOf, readOutput, TestSwarm } from '../../testing/process-swarm.ts'

const REQUESTS = 900
/** An engine slow enough that a job lasts until something was done to its peers, however busy the machine is. */
const SLOW = ['--engine', 'fake', '--fake-timing', '0/40/0', '--slots', '2']

let swarm: TestSwarm
beforeEach(async () => {
  swarm = await TestSwarm.create()
})
afterEach(() => swarm.dispose())

/** Every line of the input once, and each an answer. */
async function expectEveryLineOnce(output: string, requests: number): Promise<void> {
  const lines = await readOutput(output)
  expect(lines).toHaveLength(requests)
  expect(new Set(lines.map((line) => line.custom_id)).size).toBe(requests)
  expect(lines.filter((line) => line.error !== null)).toEqual([])
}

describe('a job on real peers', () => {
  test('survives a worker that is killed: every line comes back exactly once', async () => {
    const input = await swarm.claims(REQUESTS)
    await Promise.all(['a', 'b', 'c'].map((name) => swarm.importFacts(name)))
    await swarm.up('a')
    const [, victim] = await Promise.all([swarm.up('b'), swarm.up('c')])
    const output = swarm.path('out.jsonl')
    const submit = swarm.submit(input, output)
    await progressOf(submit, REQUESTS / 3)
    victim.process.kill('SIGKILL')
    const summary = await submit.event('job-summary', 60_000)
    expect(summary).toMatchObject({ requests: REQUESTS, committed: REQUESTS, failed: 0 })
    expect(await submit.exited).toBe(0)
    await expectEveryLineOnce(output, REQUESTS)
  })

  test('goes on after its submitter is killed, and runs no committed line again', async () => {
    const input = await swarm.claims(REQUESTS)
    await swarm.importFacts('a')
    await swarm.up('a')
    const output = swarm.path('out.jsonl')
    const first = swarm.submit(input, output)
    const { jobId } = await first.event('job', 30_000)
    await progressOf(first, REQUESTS / 3)
    first.kill('SIGKILL')
    await first.exited
    const journalPath = swarm.path(`submitter/jobs/${String(jobId)}/journal.sqlite`)
    const before = committedLines(journalPath)
    const again = swarm.submit(input, output)
    expect(await again.event('job', 30_000)).toMatchObject({ jobId, resumed: true, committed: before.size })
    expect(await again.event('job-summary', 60_000)).toMatchObject({ committed: REQUESTS, failed: 0 })
    await again.exited
    expect(before.size).toBeGreaterThanOrEqual(REQUESTS / 3)
    const after = committedLines(journalPath)
    for (const [n, body] of before) expect(after.get(n)).toBe(body)
    await expectEveryLineOnce(output, REQUESTS)
  })

  test('puts a peer that joins late to work: it fetches the context from the others', async () => {
    const input = await swarm.claims(REQUESTS)
    await swarm.importFacts('a')
    await swarm.up('a', ...SLOW)
    const submit = swarm.submit(input, swarm.path('out.jsonl'))
    await progressOf(submit, 1)
    const late = await swarm.up('late', ...SLOW)
    const summary = await submit.event('job-summary', 60_000)
    expect((summary['peers'] as { peer: string }[]).map(({ peer }) => peer)).toContain(late.peerId)
    const [context] = (await late.status()).contexts
    expect(context).toMatchObject({ tier: 'warm', share: 1 })
    await expectEveryLineOnce(swarm.path('out.jsonl'), REQUESTS)
  })

  test('when every peer is gone, it looks for others as long as it was told to, and says why it gives up', async () => {
    await swarm.importFacts('a')
    const only = await swarm.up('a', ...SLOW)
    const submit = swarm.submit(await swarm.claims(REQUESTS), swarm.path('out.jsonl'), '--wait', '2')
    await progressOf(submit, 1)
    expect(await onlyJob()).toMatchObject({ state: 'running', stopped: null })
    only.process.kill('SIGKILL')
    expect(await submit.event('error', 60_000)).toMatchObject({ code: 'unschedulable' })
    await submit.exited
    expect(await onlyJob()).toMatchObject({ state: 'stopped', stopped: { code: 'unschedulable' } })
  })

  test('a bad request becomes one error line; the rest is answered, and the exit status says so', async () => {
    const [first, second] = [
      JSON.stringify('Paris is the capital of France.'),
      JSON.stringify('x '.repeat(5_000)),
    ]
    const line = (id: string, content: string): string =>
      `{"custom_id":"${id}","method":"POST","url":"/v1/chat/completions","body":{"model":"facts","max_tokens":24,"messages":[{"role":"user","content":${content}}]}}`
    const input = await swarm.file(
      'in.jsonl',
      [line('good', first), line('too-long', second), line('also-good', first)].join('\n'),
    )
    await swarm.importFacts('a')
    const peer = await swarm.up('a')
    const submit = swarm.submit(input, swarm.path('out.jsonl'))
    expect(await submit.exited).toBe(4)
    const lines = await readOutput(swarm.path('out.jsonl'))
    expect(lines.map(({ custom_id, error }) => [custom_id, error?.code])).toEqual([
      ['good', undefined],
      ['too-long', 'request-invalid'],
      ['also-good', undefined],
    ])
    expect((await peer.status()).contexts[0]?.tier).toBe('warm')
  })
})

/** The submitter's one job, as another terminal is told of it. */
async function onlyJob(): Promise<Record<string, unknown>> {
  const data = ['--data', swarm.path('submitter')]
  const list = swarm.hearth('job', 'ls', ...data)
  await list.exited
  const [job] = list.events[0] as unknown as { jobId: string }[]
  const show = swarm.hearth('job', 'show', job!.jobId, ...data)
  await show.exited
  return show.events[0]!
}

function committedLines(path: string): Map<number, string> {
  const journal = Journal.open(path)!
  const lines = new Map([...journal.lines()].map(({ n, peer, body }) => [n, `${peer} ${body}`]))
  journal.close()
  return lines
}
