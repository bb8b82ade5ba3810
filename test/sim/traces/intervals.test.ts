// Times up that a file gives in any order, shape and unit.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { readTrace, type ReadTraceOptions } from '../../../sim/traces/formats.ts'
import type { Trace } from '../../../sim/traces/trace.ts'

const read = (text: string, options: Partial<ReadTraceOptions> = {}): Trace =>
  readTrace(text, { random: seededRandom(1), ...options })

/** The times up of a host in s, as "0–200 300–"; one that has not ended has no end. */
function upOf({ events }: Trace, host = 'A'): string {
  const own = events.filter(({ peer }) => peer === host)
  return own
    .map(({ atMs, kind }) => (kind === 'up' ? ` ${atMs / 1000}–` : String(atMs / 1000)))
    .join('')
    .trim()
}

const HEAD =
  '#event_id\tcomponent_id\tnode_id\tplatform_id\tnode_name\tevent_type\tevent_start_time\tevent_stop_time\n'

type Stretch = readonly [from: number, to: number | string, name?: string]

/** A file of the Failure Trace Archive; B is up from 0 to 300. */
function tab(...rows: Stretch[]): string {
  const lines = rows.map(([from, to, name = 'nA']) => `1\t0\tA\t1\t${name}\t1\t${from}\t${to}\n`)
  return `${HEAD}${lines.join('')}9\t0\tB\t1\tnB\t1\t0\t300\n`
}

describe('intervals of a host are united:', () => {
  const cases: [string, Stretch[], string][] = [
    [
      'with a gap',
      [
        [0, 100],
        [150, 300],
      ],
      '0–100 150–300',
    ],
    [
      'that overlap',
      [
        [0, 100],
        [50, 200],
      ],
      '0–200',
    ],
    [
      'that touch',
      [
        [0, 100],
        [100, 200],
      ],
      '0–200',
    ],
    [
      'that touch, unsorted',
      [
        [100, 200],
        [0, 100],
      ],
      '0–200',
    ],
    [
      'one inside another',
      [
        [0, 200],
        [50, 60],
      ],
      '0–200',
    ],
    [
      'twice the same',
      [
        [0, 100],
        [0, 100],
      ],
      '0–100',
    ],
    [
      'of no length',
      [
        [0, 100],
        [200, 200],
      ],
      '0–100',
    ],
    [
      'that never end',
      [
        [0, 100],
        [150, -1],
      ],
      '0–100 150–',
    ],
    [
      'that never end, and others inside',
      [
        [150, 'NULL'],
        [200, 250],
      ],
      '150–',
    ],
  ]
  test.each(cases)('%s', (_what, rows, up) => {
    const trace = read(tab(...rows))
    expect(upOf(trace)).toBe(up)
    expect(upOf(trace, 'B')).toBe('0–300')
    expect(trace.endMs).toBe(300_000)
    const csv = ['host,on,off', ...rows.map(([from, to]) => `A,${from},${to}`), 'B,0,300'].join('\n')
    expect(read(csv)).toEqual(trace)
  })

  test('whatever their order', () => {
    const interval = fc.tuple(fc.nat(30), fc.nat(10))
    fc.assert(
      fc.property(fc.array(interval, { minLength: 1, maxLength: 12 }), (pairs) => {
        const rows = pairs.map(([from, length]): [number, number] => [from, from + length])
        const changes = read(tab(...rows)).events.filter(({ peer }) => peer === 'A')
        for (let second = 0; second < 45; second += 1) {
          const last = changes.findLast(({ atMs }) => atMs <= 1000 * second)
          expect(last?.kind === 'up').toBe(rows.some(([from, to]) => from <= second && second < to))
        }
      }),
    )
  })
})

describe('columns of a tab file', () => {
  test('may be empty or hold spaces', () => {
    expect(upOf(read(tab([0, 100], [150, 300, ''])))).toBe('0–100 150–300')
    expect(upOf(read(tab([0, 100], [150, 300, 'my old PC'])))).toBe('0–100 150–300')
    const first = read('node_name\tnode_id\tevent_type\tevent_start_time\tevent_stop_time\n\tA\t1\t0\t5\n')
    expect(upOf(first)).toBe('0–5')
  })

  test('are all there', () => {
    expect(() => read(`${HEAD}1\t0\tA\t1\tnA\t1\t0\n`)).toThrow(
      /line 2 .*it has 7 columns, and the header has 8/,
    )
  })
})

describe('host,on,off', () => {
  const iso = [
    'A,2026-01-01T00:00:00Z,2026-01-01 00:01:40',
    'B,2026-01-01T01:00:00+01:00,2026-01-01T00:05:00Z',
  ]
  const cases: [string, string, Partial<ReadTraceOptions>][] = [
    ['in seconds, unless said', 'host,on,off\nA,0,100\nB,0,300\n', {}],
    ['in the header’s unit', 'node,start_ms,stop_ms\nA,0,100000\nB,0,300000\n', {}],
    ['in the command’s unit', 'host,on,off\nA,0,100000\nB,0,300000\n', { unit: 'ms' }],
    ['in ISO times', `host,on,off\n${iso.join('\n')}\n`, {}],
    ['in other orders and with other columns', 'end,cpu,name,begin\n100,8,A,0\n300,8,B,0\n', {}],
    ['without a header', 'A,0,100\nB,0,300\n', {}],
    ['with comments, a mark and CRLF', '\uFEFF# mine\r\n\r\nhost, on, off\r\nA, 0, 100\r\nB, 0, 300\r\n', {}],
  ]
  test.each(cases)('is read %s', (_what, text, options) => {
    const trace = read(text, options)
    expect([upOf(trace), upOf(trace, 'B'), trace.endMs]).toEqual(['0–100', '0–300', 300_000])
  })

  test('names may hold spaces, commas and quotes', () => {
    const trace = read('host,on,off\nmy old PC,5,8\n"a, ""b""",6,7\n')
    expect(upOf(trace, 'my old PC')).toBe('0–3')
    expect(upOf(trace, 'a, "b"')).toBe('1–2')
  })

  test('times other than seconds are read in the other formats too', () => {
    expect(upOf(read('2026-01-01T00:00:00Z,add,A\n2026-01-01T00:01:00Z,remove,A\n'))).toBe('0–60')
    expect(upOf(read('0,add,A\n1,remove,A\n', { unit: 'min' }))).toBe('0–60')
    expect(upOf(read(tab([0, 100_000], [200_000, 300_000]), { unit: 'ms' }))).toBe('0–100 200–300')
  })
})

describe('what cannot be is refused with the file and the line:', () => {
  test.each([
    ['an interval that ends before it begins', tab([0, 100], [90, 80]), /line 3 .*"A" ends before it begins/],
    ['the same in CSV', 'host,on,off\nA,0,9\nA,9,8\n', /line 3 .*ends before it begins/],
    ['no name', 'host,on,off\n,0,9\n', /line 2 .*no node is named/],
    ['no time', 'host,on,off\nA,soon,9\n', /line 2 .*"soon" is no number/],
    ['a date that is none', 'host,on,off\nA,2026-13-41T00:00:00Z,9\n', /line 2 .*is no date and time/],
    ['a column too few', 'host,on,off\nA,1\n', /line 2 .*it has 2 columns; write host,on,off/],
    ['a quote that does not end', 'host,on,off\n"A,1,2\n', /line \d .*[Qq]uote/],
    ['no end at all', 'host,on,off\nA,0,\nB,0,-\n', /line 2 .*length of the trace is unknown/],
    ['an unknown type', `${HEAD}1\t0\tA\t1\tnA\tup\t0\t5\n`, /line 2 .*"up" is no number/],
  ])('%s', (_what, text, message) => {
    expect(() => read(text, { file: 't.tab' })).toThrow(message)
    expect(() => read(text, { file: 't.tab' })).toThrow(/^t\.tab: /)
  })
})
