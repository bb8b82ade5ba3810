import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { writeChurnLog } from '../../../sim/traces/churn-log.ts'
import { readTrace, type ReadTraceOptions } from '../../../sim/traces/formats.ts'
import { summarise } from '../../../sim/traces/summary.ts'
import { lossSizes, spellsOf, type Trace } from '../../../sim/traces/trace.ts'

const read = (text: string, options: Partial<ReadTraceOptions> = {}): Trace =>
  readTrace(text, { random: seededRandom(1), ...options })

/** As "atMs kind peer". */
const told = ({ events }: Trace): string[] => events.map(({ atMs, kind, peer }) => `${atMs} ${kind} ${peer}`)

/** How many are up after each moment. */
function countsOf({ events }: Trace): [number, number][] {
  const counts = new Map<number, number>()
  let up = 0
  for (const { atMs, kind } of events) {
    up += kind === 'up' ? 1 : -1
    counts.set(atMs, up)
  }
  return [...counts]
}

describe('is read by the look of it:', () => {
  test('instances added and removed, as CSV', () => {
    const trace = read('480000,add,a\n540000,add,b\n600000,remove,a\n')
    expect(told(trace)).toEqual(['0 up a', '60000 up b', '120000 down a'])
    expect(trace.endMs).toBe(120_000)
  })

  test('instances added and removed, as rows of JSON, where other rows only pass time', () => {
    const trace = read(
      '[0, "add", {"nodes": ["a", "b"], "duration": 60000}]\n[60000, "no-op", {"nodes": [], "duration": 60000}]\n[120000, "remove", {"nodes": ["b"], "duration": 60000}]\n',
    )
    expect(told(trace)).toEqual(['0 up a', '0 up b', '120000 down b'])
    expect(trace.endMs).toBe(180_000)
  })

  test('counts with a header that says the unit', () => {
    expect(countsOf(read('# from a figure\nt_s,workers,inferences\n0,2,0\n5,3,7\n10,1,9\n'))).toEqual([
      [0, 2],
      [5_000, 3],
      [10_000, 1],
    ])
  })

  test('counts with dates; a clock that was set back stands still', () => {
    const trace = read('2021-12-10, 13:07:45, 8\n2021-12-10, 13:08:45, 8\n2021-12-10, 13:07:50, 5\n')
    expect(countsOf(trace)).toEqual([
      [0, 8],
      [60_000, 5],
    ])
    expect(lossSizes(trace, 0)).toEqual([3])
  })

  test('counts without a header, whose unit must be said', () => {
    expect(() => read('0.5,3\n1,2\n')).toThrow(/recognised/)
    expect(() => read('0.5,3\n1,2\n', { format: 'count-csv' })).toThrow(/--unit/)
    expect(countsOf(read('0.5,3\n1,2\n', { format: 'count-csv', unit: 'h' }))).toEqual([
      [0, 3],
      [1_800_000, 2],
    ])
  })

  test('steps of instances that could be had', () => {
    const trace = read('{"metadata": {"gap_seconds": 600}, "data": [1, 0, 0, 2]}')
    expect(countsOf(trace)).toEqual([
      [0, 1],
      [600_000, 0],
      [1_800_000, 2],
    ])
  })

  test('the Failure Trace Archive: spells of availability, whatever the order of the columns', () => {
    const trace = read(
      '# event_id\tnode_id\tevent_type\tevent_start_time\tevent_stop_time\n1\t7\t1\t100\t160\n2\t7\t0\t160\t200\n3\t7\t1\t200\t300\n4\t8\t1\t150\t300\n',
    )
    expect(told(trace)).toEqual([
      '0 up 7',
      '50000 up 8',
      '60000 down 7',
      '100000 up 7',
      '200000 down 7',
      '200000 down 8',
    ])
  })

  test('pods of a cluster; those never scheduled are left out', () => {
    const trace = read(
      'name,num_gpu,qos,creation_time,deletion_time,scheduled_time\np1,1,BE,5,40,10\np2,1,LS,6,9,\np3,1,BE,8,70,20\n',
    )
    expect(told(trace)).toEqual(['0 up p1', '10000 up p3', '30000 down p1', '60000 down p3'])
  })

  test('a churn log, with nobody looking between two runs of its writer', () => {
    const schema = { log: 'hearth-churn', version: 1, settledMs: 60_000 }
    const lines = [
      { schema, openedAt: 1_000_000 },
      { t: 500, kind: 'up', peer: 'a' },
      { t: 600, kind: 'tier', peer: 'a', contextId: 'c', tier: 'warm' },
      { t: 90_000, kind: 'up', peer: 'b' },
      { t: 100_000, kind: 'down', peer: 'b' },
      { t: 200_000, kind: 'end' },
      { schema, openedAt: 2_000_000 },
      { t: 700, kind: 'up', peer: 'a' },
      { t: 80_000, kind: 'down', peer: 'a' },
      { t: 90_000, kind: 'end' },
    ]
    const trace = read(`${lines.map((line) => JSON.stringify(line)).join('\n')}\n{"t":95000,"ki`)
    const spells = spellsOf(trace).map(
      ({ peer, isUp, fromMs, toMs, isStartSeen, isEndSeen }) =>
        `${peer} ${isUp ? 'up' : 'down'} ${isStartSeen ? '[' : '…'}${fromMs}–${toMs}${isEndSeen ? ']' : '…'}`,
    )
    expect(spells).toEqual([
      'b up [90000–100000]',
      'a up …500–200000…',
      'b down [100000–200000…',
      'a up …1000700–1080000]',
      'a down [1080000–1090000…',
    ])
  })
})

describe('what cannot be read', () => {
  test.each([
    ['0,add,a\n5,moved,a\n', /line 2 .*"moved" is neither/],
    ['0,add,a\nsoon,remove,a\n', /line 2 .*"soon" is no number/],
    ['0,add,\n', /no node is named/],
    ['t_s,workers\n0,many\n', /line 2 .*"many" is no number/],
    ['[0, "add", {}]\n', /no list of nodes/],
    ['[0, "add", {\n', /not JSON/],
    ['# event_start_time event_stop_time event_type\n', /no column node_id/],
    ['{"metadata": {}, "data": [], "gap_seconds": 1}', /no metadata.gap_seconds/],
    ['', /not recognised/],
    ['once upon a time\n', /not recognised/],
    ['t_s,workers\n0,0\n', /nobody comes or goes/],
  ])('%j', (text, message) => {
    expect(() => read(text)).toThrow(message)
  })
})

test('a trace written as a churn log reads the same', () => {
  const trace = read('0,add,a\n1000,add,b\n5000,remove,a\n7000,add,a\n9000,add,c\n')
  expect(told(read(writeChurnLog(trace)))).toEqual(told(trace))
  expect(spellsOf(read(writeChurnLog(trace)))).toEqual(spellsOf(trace))
})

test('a summary counts who was lost together, and how long peers were up', () => {
  const rows = Array.from({ length: 40 }, (_, n) => `${n * 1000},add,p${n}`)
  const losses = Array.from(
    { length: 20 },
    (_, n) => `${3_600_000 + 60_000 * Math.floor(n / 5)},remove,p${n}`,
  )
  const summary = summarise(read([...rows, ...losses, '7200000,add,z'].join('\n')), 0)
  expect(summary.peers).toBe(41)
  expect(summary.hours).toBe(2)
  expect(summary.losses.sizeMedian).toBe(5)
  expect(summary.losses.sizeMax).toBe(5)
  expect(summary.sessions.ended).toBe(19)
  expect(summary.absences.ended).toBe(0)
})
