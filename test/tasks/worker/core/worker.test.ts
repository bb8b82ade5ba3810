import { describe, expect, test } from 'vitest'
import { stepWorker } from '../../../../src/tasks/worker/core/worker.ts'
import {
  createWorker,
  type WorkerState,
  type WorkerEffect,
  type WorkerEvent,
} from '../../../../src/tasks/worker/core/worker-state.ts'

const OPTIONS = {
  sessionsMax: 3,
  requestsPerSlot: 2,
  lookAheadMs: 250,
  handOverMs: 25,
  windowMax: 2048,
  evaluate: 'pervasive' as const,
  undeliveredBytesMax: 100_000,
  submitterUndeliveredBytesMax: 100_000,
  submitterUndeliveredMax: 1_000,
  undeliveredAgeMsMax: 60_000,
}

function play(state: WorkerState, ...events: WorkerEvent[]): WorkerEffect[] {
  return events.flatMap((event) => stepWorker(state, event, 0))
}

const opened = (session: string, submitter = session, job = 'job'): WorkerEvent => ({
  kind: 'opened',
  session,
  submitter,
  job,
  contextId: 'context',
})
const requests = (session: string, ...numbers: number[]): WorkerEvent => ({
  kind: 'requests',
  session,
  requests: numbers.map((n) => ({ n, epoch: 1, url: '/v1/completions', body: '{}' })),
})
const done = (run: number): WorkerEvent => ({
  kind: 'done',
  run,
  result: { outcome: 'ok', statusCode: 200, body: '{}', promptTokens: 1, completionTokens: 1 },
})
const prepared: WorkerEvent = { kind: 'prepared', contextId: 'context', slots: 4 }
const creditsOf = (effects: WorkerEffect[]): [string, number][] =>
  effects.flatMap((effect) => (effect.kind === 'credit' ? [[effect.session, effect.requests]] : []))

describe('a worker', () => {
  test('prepares a context once for all its sessions, and grants credit only when it is ready', () => {
    const state = createWorker(OPTIONS)
    const before = play(state, opened('s1'), opened('s2'))
    expect(before.filter((effect) => effect.kind === 'prepare')).toHaveLength(1)
    expect(creditsOf(before)).toEqual([])
    expect(creditsOf(play(state, prepared))).toEqual([
      ['s1', 4],
      ['s2', 4],
    ])
  })

  test('shares its window equally between submitters', () => {
    const state = createWorker(OPTIONS)
    expect(creditsOf(play(state, opened('s1'), prepared))).toEqual([['s1', 8]])
    expect(creditsOf(play(state, opened('s2')))).toEqual([['s2', 4]])
  })

  test('keeps a result until it is acknowledged, and gives it again to the submitter that returns', () => {
    const state = createWorker(OPTIONS)
    play(state, opened('s1', 'alice'), prepared, requests('s1', 0, 1), done(1), {
      kind: 'lost',
      session: 's1',
    })
    play(state, done(2))
    const again = play(state, opened('s2', 'alice'))
    const delivered = again.flatMap((effect) =>
      effect.kind === 'deliver' ? effect.results.map(({ n }) => n) : [],
    )
    expect(delivered).toEqual([0, 1])
    play(state, {
      kind: 'acknowledged',
      session: 's2',
      keys: [
        { n: 0, epoch: 1 },
        { n: 1, epoch: 1 },
      ],
    })
    expect(state.ledger.bytes).toBe(0)
  })

  test('gives nobody the results of another submitter or another job', () => {
    const state = createWorker(OPTIONS)
    play(state, opened('s1', 'alice', 'job-1'), prepared, requests('s1', 0), done(1))
    const others = play(state, opened('s2', 'bob', 'job-1'), opened('s3', 'alice', 'job-2'))
    expect(others.filter((effect) => effect.kind === 'deliver')).toEqual([])
  })

  test('does not run again a request whose result it still has', () => {
    const state = createWorker(OPTIONS)
    play(state, opened('s1', 'alice'), prepared, requests('s1', 0), done(1))
    const effects = play(state, requests('s1', 0))
    expect(effects.map((effect) => effect.kind)).toEqual(['deliver', 'credit'])
  })

  test('ends a session that sends more requests than it has credit for', () => {
    const state = createWorker(OPTIONS)
    const effects = play(state, opened('s1'), prepared, requests('s1', ...Array(9).keys()))
    expect(effects).toContainEqual({ kind: 'end', session: 's1', reason: 'more requests than credit' })
    expect(effects.filter((effect) => effect.kind === 'run')).toEqual([])
  })

  test('refuses with the reason: paused, and too many sessions', () => {
    const state = createWorker(OPTIONS)
    play(state, opened('s1'), opened('s2'), opened('s3'))
    expect(play(state, opened('s4'))[0]).toMatchObject({ phase: 'refused', reason: 'too-many-sessions' })
    play(state, { kind: 'owner', accepts: false, reason: 'paused' })
    expect(state.sessions.size).toBe(0)
    expect(play(state, opened('s5'))[0]).toMatchObject({ phase: 'refused', reason: 'paused' })
  })

  test('stops what runs when its owner wants the machine back', () => {
    const state = createWorker(OPTIONS)
    play(state, opened('s1'), prepared, requests('s1', 0, 1))
    const effects = play(state, { kind: 'owner', accepts: false, reason: 'paused' })
    expect(effects.filter((effect) => effect.kind === 'stop-run')).toHaveLength(2)
  })

  test('gives the memory back when its owner pauses it, also what is still loading, and loads anew after that', () => {
    const state = createWorker(OPTIONS)
    const pause: WorkerEvent = { kind: 'owner', accepts: false, reason: 'paused' }
    const resume: WorkerEvent = { kind: 'owner', accepts: true }
    const discarded: WorkerEvent = { kind: 'discarded', contextId: 'context' }
    const discard = { kind: 'discard', contextId: 'context', keepsFiles: true }
    play(state, opened('s1'), prepared, requests('s1', 0, 1))
    expect(play(state, pause)).toContainEqual(discard)
    play(state, discarded)
    expect(state.contexts.size).toBe(0)
    play(state, resume, opened('s2'))
    expect(play(state, pause)).not.toContainEqual(discard)
    expect(play(state, prepared)).toContainEqual(discard)
    // A job that comes before the memory is free is served after that.
    play(state, resume, opened('s3'))
    expect(play(state, discarded)).toContainEqual({ kind: 'prepare', contextId: 'context' })
    expect(creditsOf(play(state, prepared))).toEqual([['s3', 8]])
  })

  test('tells every session why a context cannot be had', () => {
    const state = createWorker(OPTIONS)
    play(state, opened('s1'), opened('s2'))
    const effects = play(state, {
      kind: 'unprepared',
      contextId: 'context',
      reason: 'context-unavailable',
      detail: 'no holder',
    })
    const refusals = effects.filter(
      (effect) => effect.kind === 'status' && effect.reason === 'context-unavailable',
    )
    expect(refusals).toHaveLength(2)
    expect(state.contexts.size).toBe(0)
  })

  test('grants no credit while undelivered results fill their bound', () => {
    const state = createWorker({ ...OPTIONS, submitterUndeliveredBytesMax: 300 })
    play(state, opened('s1'), prepared, requests('s1', 0, 1, 2, 3, 4, 5, 6, 7))
    const effects = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((run) => play(state, done(run)))
    expect(creditsOf(effects).reduce((sum, [, requests]) => sum + requests, 0)).toBeLessThanOrEqual(2)
    expect(state.ledger.isFull(state.sessions.get('s1')!.results)).toBe(true)
  })

  test('forgets undelivered results after their age', () => {
    const state = createWorker(OPTIONS)
    play(state, opened('s1'), prepared, requests('s1', 0), done(1))
    stepWorker(state, { kind: 'tick' }, OPTIONS.undeliveredAgeMsMax + 1)
    expect(state.ledger.bytes).toBe(0)
  })

  test('that leaves gives back at once what has not begun, lets the rest finish, and takes nothing new', () => {
    const state = createWorker({ ...OPTIONS, handOverMs: 0 })
    play(state, opened('s1'), { ...prepared, slots: 1 }, requests('s1', 0, 1), requests('s1'))
    play(state, { kind: 'acknowledged', session: 's1', keys: [] })
    const left = play(state, { kind: 'drain' })
    const returned = (effects: WorkerEffect[]): number[] =>
      effects.flatMap((effect) => (effect.kind === 'return' ? effect.keys.map(({ n }) => n) : []))
    const running = [...state.runs.values()].map(({ request }) => request.n)
    expect([...running, ...returned(left)].sort((a, b) => a - b)).toEqual([0, 1])
    expect(creditsOf(left)).toEqual([])
    expect(play(state, opened('s2')).at(-1)).toEqual({ kind: 'end', session: 's2', reason: 'draining' })
    // A result is not lost by leaving too soon: the session ends when it is acknowledged.
    const ids = [...state.runs.keys()]
    expect(play(state, ...ids.map(done)).some(({ kind }) => kind === 'end')).toBe(false)
    const keys = running.map((n) => ({ n, epoch: 1 }))
    expect(play(state, { kind: 'acknowledged', session: 's1', keys })).toContainEqual({
      kind: 'end',
      session: 's1',
      reason: 'draining',
    })
  })

  test('that leaves now gives back what runs, too', () => {
    const state = createWorker(OPTIONS)
    play(state, opened('s1'), prepared, requests('s1', 0, 1), { kind: 'drain' })
    const effects = play(state, { kind: 'drain-over' })
    expect(effects).toContainEqual({
      kind: 'return',
      session: 's1',
      keys: [
        { n: 0, epoch: 1 },
        { n: 1, epoch: 1 },
      ],
    })
    expect(effects.filter(({ kind }) => kind === 'stop-run')).toHaveLength(2)
    expect(state.sessions.size).toBe(0)
  })
})
