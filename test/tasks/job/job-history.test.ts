import { describe, expect, test } from 'vitest'
import { page } from '../../../src/cli/commands/report.ts'
import { readHistory, type JobHistory } from '../../../src/tasks/job/job-history.ts'

async function history(...lines: object[]): Promise<JobHistory> {
  async function* text() {
    for (const line of lines) yield JSON.stringify(line)
    yield '{"torn'
  }
  return readHistory(text())
}

const SCHEMA = { schema: { log: 'hearth-job', version: 1, jobId: 'abcdef0123' }, openedAt: 0 }

describe('the history of a job', () => {
  test('tells when each peer was in which phase, what it committed, and what it had in hand when it was lost', async () => {
    const told = await history(
      SCHEMA,
      { t: 0, kind: 'opened', peer: 'a' },
      { t: 10, kind: 'status', peer: 'a', phase: 'loading' },
      { t: 30, kind: 'status', peer: 'a', phase: 'ready' },
      {
        t: 31,
        kind: 'send',
        peer: 'a',
        leases: [
          [0, 1],
          [1, 1],
          [2, 1],
        ],
      },
      { t: 50, kind: 'committed', peer: 'a', n: 0, epoch: 1 },
      { t: 60, kind: 'lost', peer: 'a', reason: 'killed' },
    )
    expect(told).toMatchObject({ jobId: 'abcdef0123', lengthMs: 60, committed: 1, releasedLeases: 2 })
    expect(told.peers).toEqual([
      {
        peer: 'a',
        committed: 1,
        spans: [
          { phase: 'queued', fromMs: 0, toMs: 10 },
          { phase: 'loading', fromMs: 10, toMs: 30 },
          { phase: 'ready', fromMs: 30, toMs: 60 },
        ],
        lost: [{ atMs: 60, reason: 'killed' }],
      },
    ])
  })

  test('counts no peer as lost whose stream ends with the job, and does so again in a further run', async () => {
    const run = (...end: object[]): object[] => [
      SCHEMA,
      { t: 0, kind: 'opened', peer: 'a' },
      { t: 1, kind: 'send', peer: 'a', leases: [[0, 1]] },
      ...end,
      { t: 60, kind: 'lost', peer: 'a', reason: 'done' },
    ]
    const over = await history(...run({ t: 50, kind: 'finish' }))
    expect(over).toMatchObject({ releasedLeases: 0, peers: [{ peer: 'a', lost: [] }] })
    const again = await history(...run({ t: 50, kind: 'give-up' }), ...run())
    expect(again).toMatchObject({ releasedLeases: 1, peers: [{ peer: 'a', lost: [{ atMs: 120 }] }] })
  })

  test('puts the runs of a resumed job one after the other', async () => {
    const run = [
      SCHEMA,
      { t: 0, kind: 'opened', peer: 'a' },
      { t: 100, kind: 'committed', peer: 'a', n: 0, epoch: 1 },
    ]
    expect(await history(...run, ...run)).toMatchObject({ lengthMs: 200, committed: 2 })
  })

  test('is drawn as a page that says the same, with what peers say made harmless', async () => {
    const told = await history(
      SCHEMA,
      { t: 0, kind: 'opened', peer: '<script>' },
      { t: 9, kind: 'committed', peer: '<script>', n: 0, epoch: 1 },
    )
    expect(page(told)).toContain('1 requests committed')
    expect(page(told)).not.toContain('<script>')
  })
})
