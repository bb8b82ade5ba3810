import { beforeEach, expect, test } from 'vitest'
import type { LoggedEvent } from '../../../src/base/log/event-log.ts'
import { AdvertBoard } from '../../../src/dht/advert/advert-board.ts'
import type { Advert, AdvertContext } from '../../../src/dht/advert/advert.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { CHURN_LOG_SCHEMA, ChurnLog } from '../../../src/node/home/churn-log.ts'
import { readChurnLog } from '../../../sim/traces/churn-log.ts'

let sequence = 0
function advert(peer: string, contexts: AdvertContext[], reason?: string): Advert {
  sequence += 1
  return {
    version: 1,
    peer,
    sequence,
    issuedAtMs: 0,
    ttlMs: 60_000,
    agent: 'hearth/0',
    contexts,
    device: { kind: 'cpu', name: 'a CPU', threads: 2, memoryBytes: 1 },
    slots: 1,
    serving: { accepts: reason === undefined, ...(reason === undefined ? {} : { reason }) },
  }
}
const context = (tier: AdvertContext['tier'], contextId = 'c'): AdvertContext => ({
  contextId,
  name: 'm',
  tier,
})

let events: LoggedEvent[]
let board: AdvertBoard
let log: ChurnLog
beforeEach(() => {
  events = []
  board = new AdvertBoard({ clock: systemClock, fetch: () => Promise.reject(new Error('nobody is asked')) })
  log = new ChurnLog({ board, sink: { add: (event) => void events.push(event) } })
})

test('says who is there already, who comes, what each has, and who goes', () => {
  board.take(advert('a', [context('stored')]))
  log.start()
  board.take(advert('b', []))
  board.take(advert('a', [context('warm')]))
  board.take(advert('a', [context('warm')]))
  board.take(advert('a', []))
  board.remove('a')
  log.stop()
  board.take(advert('d', []))
  expect(events).toEqual([
    { kind: 'up', peer: 'a' },
    { kind: 'tier', peer: 'a', contextId: 'c', tier: 'stored' },
    { kind: 'up', peer: 'b' },
    { kind: 'tier', peer: 'a', contextId: 'c', tier: 'warm' },
    { kind: 'tier', peer: 'a', contextId: 'c', tier: 'absent' },
    { kind: 'down', peer: 'a' },
    { kind: 'end' },
  ])
})

test('who only submits is not churn', () => {
  log.start()
  board.take(advert('s', [], 'submit-only'))
  board.remove('s')
  expect(events).toEqual([])
})

test('a peer that is paused or drains is still there', () => {
  log.start()
  board.take(advert('a', []))
  board.take(advert('a', [], 'draining'))
  expect(events).toEqual([{ kind: 'up', peer: 'a' }])
})

test('the simulator reads what it writes', () => {
  log.start()
  board.take(advert('a', [context('warm')]))
  board.remove('a')
  log.stop()
  const lines = [
    { schema: CHURN_LOG_SCHEMA, openedAt: 5 },
    ...events.map((event, index) => ({ t: 100_000 * (index + 1), ...event })),
  ]
  const { events: read, endMs } = readChurnLog(lines.map((line) => JSON.stringify(line)).join('\n'))
  expect(read.map(({ atMs, kind, peer }) => `${atMs} ${kind} ${peer}`)).toEqual([
    '100000 up a',
    '300000 down a',
  ])
  expect(endMs).toBe(400_000)
})
