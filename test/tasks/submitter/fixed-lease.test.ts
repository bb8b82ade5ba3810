import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { step } from '../../../src/tasks/submitter/core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
  type CoordinatorEvent,
} from '../../../src/tasks/submitter/core/coordinator-state.ts'
import { stepWorker } from '../../../src/tasks/worker/core/worker.ts'
import {
  createWorker,
  EVALUATION_MODES,
  type EvaluationMode,
  type WorkerState,
  type WorkerEffect,
  type WorkerEvent,
} from '../../../src/tasks/worker/core/worker-state.ts'
import { WORKER_DEFAULTS } from '../../../src/tasks/worker/worker.ts'
import { World } from '../../../testing/virtual/task-world.ts'

const HOUR_MS = 3_600_000

function worker(evaluate: EvaluationMode): WorkerState {
  return createWorker({ ...WORKER_DEFAULTS, evaluate })
}

function play(state: WorkerState, ...events: WorkerEvent[]): WorkerEffect[] {
  return events.flatMap((event) => stepWorker(state, event, 0))
}

const opened = (session: string, leaseSize?: number): WorkerEvent => ({
  kind: 'opened',
  session,
  submitter: session,
  job: 'job',
  contextId: 'context',
  leaseSize,
})
const lease = (session: string, ...numbers: number[]): WorkerEvent[] => [
  { kind: 'lease', session, requests: numbers.length },
  {
    kind: 'requests',
    session,
    requests: numbers.map((n) => ({ n, epoch: 1, url: '/v1/completions', body: '{}' })),
  },
]
const prepared: WorkerEvent = { kind: 'prepared', contextId: 'context', slots: 1 }
const discarded: WorkerEvent = { kind: 'discarded', contextId: 'context' }

/** Ends all runs, then does what the worker asks for, until it asks for nothing more. */
function settle(state: WorkerState, effects: WorkerEffect[]): WorkerEffect[] {
  const all = [...effects]
  for (const effect of all) {
    if (effect.kind === 'run') {
      const result = {
        outcome: 'ok' as const,
        statusCode: 200,
        body: '{}',
        promptTokens: 1,
        completionTokens: 1,
      }
      all.push(...play(state, { kind: 'done', run: effect.run, result }))
    } else if (effect.kind === 'prepare') all.push(...play(state, prepared))
    else if (effect.kind === 'discard') all.push(...play(state, discarded))
  }
  return all
}

const delivered = (effects: WorkerEffect[]): number[][] =>
  effects.flatMap((effect) => (effect.kind === 'deliver' ? [effect.results.map(({ n }) => n)] : []))
const creditsOf = (effects: WorkerEffect[]): [string, number][] =>
  effects.flatMap((effect) => (effect.kind === 'credit' ? [[effect.session, effect.requests]] : []))

describe('a worker that is given leases of a fixed size', () => {
  test.each([
    ['none', 3, 3, [false, false, false]],
    ['partial', 3, 3, [true, true, true]],
    ['pervasive', 1, 0, []],
  ] as const)(
    '%s: three leases load the context %i times and discard it %i times',
    (mode, loads, count, keeps) => {
      const state = worker(mode)
      const effects = settle(state, play(state, opened('s1', 2)))
      for (const numbers of [[0, 1], [2, 3], [4]])
        effects.push(...settle(state, play(state, ...lease('s1', ...numbers))))
      expect(effects.filter(({ kind }) => kind === 'prepare')).toHaveLength(loads)
      const discards = effects.filter((effect) => effect.kind === 'discard')
      expect(discards).toHaveLength(count)
      expect(discards.map(({ keepsFiles }) => keepsFiles)).toEqual(keeps)
      expect(delivered(effects)).toEqual([[0, 1], [2, 3], [4]])
    },
  )

  test('the next lease is asked for when the one before is done, and its results go back together', () => {
    const state = worker('pervasive')
    expect(creditsOf(settle(state, play(state, opened('s1', 3))))).toEqual([['s1', 3]])
    const begun = play(state, ...lease('s1', 0, 1, 2))
    expect(creditsOf(begun)).toEqual([])
    const result = {
      outcome: 'ok' as const,
      statusCode: 200,
      body: '{}',
      promptTokens: 1,
      completionTokens: 1,
    }
    const done = (run: number): WorkerEvent => ({ kind: 'done', run, result })
    const before = play(state, done(2), done(1))
    expect(before.map(({ kind }) => kind)).toEqual(['run'])
    const last = play(state, done(3))
    expect(delivered(last)).toEqual([[1, 0, 2]])
    expect(creditsOf(last)).toEqual([['s1', 3]])
  })

  test('where a context is loaded for one lease, sessions have their turns', () => {
    const state = worker('partial')
    const turns = creditsOf(play(state, opened('s1', 1), opened('s2', 1)))
    for (let n = 0; n < 4; n += 1) {
      const [session] = turns.at(-1) ?? ['']
      turns.push(...creditsOf(settle(state, play(state, ...lease(session, n)))))
    }
    expect(turns.map(([session]) => session)).toEqual(['s1', 's2', 's1', 's2', 's1'])
  })

  test('a lease whose submitter is lost is stopped and discarded as a whole', () => {
    const state = worker('none')
    play(state, opened('s1', 2), ...lease('s1', 0, 1), prepared)
    const effects = play(state, { kind: 'lost', session: 's1' })
    expect(effects.map(({ kind }) => kind)).toEqual(['stop-run', 'stop-run', 'discard'])
    play(state, discarded)
    expect(state.contexts.size).toBe(0)
  })

  test.each(['none', 'partial'] as const)(
    '%s: a job without a lease size is refused with the reason',
    (mode) => {
      const effects = play(worker(mode), opened('s1'))
      expect(effects[0]).toMatchObject({ phase: 'refused', reason: 'lease-size-missing' })
    },
  )

  test('more requests than the lease has, or a lease without credit, end the session', () => {
    for (const events of [lease('s1', 0, 1, 2), [...lease('s1', 0, 1), ...lease('s1', 2)]]) {
      const state = worker('pervasive')
      settle(state, play(state, opened('s1', 2)))
      expect(play(state, ...events)).toContainEqual(expect.objectContaining({ kind: 'end', session: 's1' }))
    }
  })
})

describe('a coordinator with a fixed lease size', () => {
  test('gives a peer one lease at a time, the last one smaller, and copies nothing', () => {
    const state = createCoordinator(
      { ranges: [{ from: 0, to: 5 }] },
      { ...COORDINATOR_DEFAULTS, leaseSize: 3 },
    )
    const credit: CoordinatorEvent = { kind: 'credit', peer: 'a', requests: 3 }
    const candidates: CoordinatorEvent = {
      kind: 'candidates',
      candidates: [{ peer: 'a', tier: 'warm', accepts: true }],
    }
    const events = [candidates, { kind: 'opened', peer: 'a' }, credit, credit, credit] as const
    const effects = events.flatMap((event) => step(state, event, 0, seededRandom(1)))
    expect(effects.filter(({ kind }) => kind === 'lease')).toEqual([
      { kind: 'lease', peer: 'a', requests: 3 },
      { kind: 'lease', peer: 'a', requests: 2 },
    ])
    expect(step(state, { kind: 'tick' }, 30_000, seededRandom(1))).not.toContainEqual(
      expect.objectContaining({ kind: 'send' }),
    )
  })
})

test('with peers and the submitter killed at random, every mode answers each request once', () => {
  const worlds = fc.record({
    seed: fc.integer({ min: 1, max: 2 ** 31 }),
    requests: fc.integer({ min: 1, max: 60 }),
    peers: fc.integer({ min: 1, max: 4 }),
    killsPerSecond: fc.constantFrom(0, 0.3),
    breaksPerSecond: fc.constantFrom(0, 0.5),
    submitterKillsPerSecond: fc.constantFrom(0, 0.1),
    evaluate: fc.constantFrom(...EVALUATION_MODES),
    leaseSize: fc.constantFrom(1, 2, 10, 100),
  })
  fc.assert(
    fc.property(worlds, ({ leaseSize, ...options }) => {
      const coordinator = { giveUpMs: HOUR_MS, lossesMax: 1000, leaseSize }
      const world = new World({ ...options, slots: 2, duplicateShare: 0, coordinator })
      world.run(HOUR_MS)
      expect(world.finished).toBe(true)
      expect(world.doubleCommits).toBe(0)
      expect(world.results.size).toBe(options.requests)
      if (options.evaluate === 'pervasive') expect(world.discards).toBe(0)
      else expect(world.prepares).toBeGreaterThanOrEqual(Math.ceil(options.requests / leaseSize))
    }),
    { numRuns: 150 },
  )
})
