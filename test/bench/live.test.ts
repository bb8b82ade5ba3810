import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { coldStarts, errorsOf, type Beside } from '../../bench/live/beside.ts'
import { readJobLog } from '../../bench/live/job-log.ts'
import { planLive } from '../../bench/live/plan.ts'
import { runOnce } from '../../sim/runs/run.ts'
import { loadScenario } from '../../sim/scenarios/load.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const folder = temporaryFolder('live-test')

describe('what befalls real peers', () => {
  test('is what befalls the simulated ones with the same seed', () => {
    const { scenario } = loadScenario('live-churn')
    const { peers, makespanS } = runOnce({ scenario: 'live-churn', settings: [], seed: 3 })
    const comesUp = planLive(scenario, 3).map(
      ({ events }) => events.filter(({ kind, atMs }) => kind === 'up' && atMs < makespanS * 1000).length,
    )
    expect(peers.map(({ sessions }) => sessions)).toEqual(comesUp)
    expect(Math.max(...comesUp)).toBeGreaterThan(1)
  })
})

describe('the log of a job', () => {
  const log = join(folder, 'events.ndjson')
  const lines: object[] = [
    { schema: { log: 'hearth-job', version: 1 }, openedAt: 0 },
    { t: 100, kind: 'start' },
    { t: 200, kind: 'open', peer: 'a' },
    { t: 300, kind: 'opened', peer: 'a' },
    { t: 300, kind: 'status', peer: 'a', phase: 'fetching', detail: 'looking for holders' },
    { t: 1_300, kind: 'status', peer: 'a', phase: 'fetching', detail: '50 % from 1 peer' },
    { t: 2_300, kind: 'status', peer: 'a', phase: 'loading' },
    { t: 5_300, kind: 'status', peer: 'a', phase: 'ready' },
    { t: 6_300, kind: 'result', peer: 'a', n: 0 },
    { t: 6_310, kind: 'committed', peer: 'a', n: 0 },
    { t: 7_000, kind: 'lost', peer: 'a' },
    { t: 7_500, kind: 'open', peer: 'a' },
    { t: 7_600, kind: 'opened', peer: 'a' },
    { t: 7_700, kind: 'status', peer: 'a', phase: 'ready' },
    { t: 8_100, kind: 'committed', peer: 'a', n: 1 },
    { t: 8_100, kind: 'finish' },
  ]
  writeFileSync(log, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))

  test('tells how long each phase of a link took, and which links loaded the context', () => {
    const course = readJobLog(log)
    expect(course).toMatchObject({ makespanS: 8, committedS: [6.21, 8] })
    expect(course.links).toMatchObject([
      { askedAtS: 0.1, fetchS: 2, loadS: 3, isColdStart: true, resultsAtS: [6.2] },
      { askedAtS: 7.4, isColdStart: false },
    ])
    expect(coldStarts(course)).toBe(1)
  })

  test('beside another says how far off that one is, at its worst moment too', () => {
    const live = { ...readJobLog(log), bytes: 100 }
    const simulated = { ...live, makespanS: 10, committedS: [9, 10], bytes: 90, links: [] }
    const errors = errorsOf({ live, simulated } as unknown as Beside)
    expect(errors.makespan).toBeCloseTo(0.25)
    expect(errors.bytes).toBeCloseTo(-0.1)
    expect(errors).toMatchObject({ coldStarts: -1, curve: 1 })
  })
})
