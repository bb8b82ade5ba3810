import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { DECIDED_CONTEXTS_MAX, DECISIONS_PER_CONTEXT_MAX } from '../../../src/base/limits.ts'
import { DECISION_CODES, DecisionLog } from '../../../src/context-sharing/history/decisions.ts'
import type { Decision } from '../../../src/context-sharing/history/decisions.ts'

let nowMs = 0
const clock = { nowMs: () => nowMs, wallMs: () => (nowMs += 1), schedule: () => () => {} }
const decision = (contextId: string, change: Partial<Decision> = {}): Decision => ({
  contextId,
  by: 'download',
  code: 'source-chosen',
  words: 'it has 3 chunks',
  ...change,
})

describe('the decision log', () => {
  it('says what was decided about a context, in order, and passes it on to the event log', () => {
    const events: object[] = []
    const log = new DecisionLog(clock, { add: (event) => events.push(event) })
    log.note(decision('one', { peer: 'p' }))
    log.note(decision('two'))
    log.note(decision('one', { by: 'store', code: 'found-locally' }))
    expect(log.of('one').map(({ by, code }) => [by, code])).toEqual([
      ['download', 'source-chosen'],
      ['store', 'found-locally'],
    ])
    expect(log.of('unheard-of')).toEqual([])
    expect(events[0]).toEqual({
      kind: 'source-chosen',
      contextId: 'one',
      by: 'download',
      words: 'it has 3 chunks',
      peer: 'p',
    })
  })

  it('keeps the last of each decider: a busy one does not push out the others', () => {
    const log = new DecisionLog(clock)
    log.note(decision('one', { by: 'replication' }))
    for (let n = 0; n <= DECISIONS_PER_CONTEXT_MAX; n += 1) log.note(decision('one', { words: `${n}` }))
    const kept = log.of('one')
    expect(kept).toHaveLength(1 + DECISIONS_PER_CONTEXT_MAX)
    expect(kept[0]?.by).toBe('replication')
    expect(kept[1]?.words).toBe('1')
  })

  it('forgets the contexts that were decided on longest ago', () => {
    const log = new DecisionLog(clock)
    log.note(decision('first'))
    log.note(decision('second'))
    log.note(decision('first'))
    for (let n = 0; n < DECIDED_CONTEXTS_MAX - 1; n += 1) log.note(decision(`other ${n}`))
    expect(log.of('first')).toHaveLength(2)
    expect(log.of('second')).toEqual([])
  })
})

it('docs/protocol/decision-log.md lists every code with its meaning, and no other', () => {
  const page = readFileSync(new URL('../../../docs/protocol/decision-log.md', import.meta.url), 'utf8')
  const rows = page.split('\n').filter((line) => line.startsWith('| `'))
  const said = rows.map((line) =>
    line
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', ''))
      .slice(1, 3),
  )
  expect(Object.fromEntries(said)).toEqual(DECISION_CODES)
})
