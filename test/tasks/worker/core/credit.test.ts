import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TASK_CREDIT_MAX } from '../../../../src/base/limits.ts'
import { randomBetween, seededRandom } from '../../../../src/base/random.ts'
import { stepWorker } from '../../../../src/tasks/worker/core/worker.ts'
import {
  createWorker,
  type WorkerState,
  type WorkerEvent,
} from '../../../../src/tasks/worker/core/worker-state.ts'
import { WORKER_DEFAULTS } from '../../../../src/tasks/worker/worker.ts'

const SLOTS = 8
const RESULT = { outcome: 'ok' as const, statusCode: 200, body: '{}', promptTokens: 1, completionTokens: 1 }

/** One worker whose slots take what waits in its order, and submitters that always have more to send, on virtual time. */
class Bench {
  readonly worker: WorkerState = createWorker(WORKER_DEFAULTS)
  readonly done = new Map<string, number>()
  /** Slot time of each session's requests. */
  readonly tookMs = new Map<string, number>()
  nowMs = 0
  #queue: { atMs: number; order: number; run: () => void }[] = []
  #order = 0
  #waiting: { run: number; session: string }[] = []
  #busySlots = 0
  #nextRequest = 0
  readonly #requestMs: (session: string) => number
  readonly #delayMs: () => number

  constructor(requestMs: (session: string) => number, delayMs: () => number) {
    this.#requestMs = requestMs
    this.#delayMs = delayMs
  }

  open(session: string, atMs: number, submitter = session): void {
    this.#later(atMs, () =>
      this.#step({ kind: 'opened', session, submitter, job: session, contextId: 'context' }),
    )
  }

  run(untilMs: number): void {
    for (;;) {
      this.#queue.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      const [next] = this.#queue
      if (next === undefined || next.atMs > untilMs) break
      this.#queue.shift()
      this.nowMs = next.atMs
      next.run()
    }
  }

  /** Requests that the sessions may have at the worker now. */
  window(): number {
    return [...this.worker.sessions.values()].reduce(
      (sum, { granted, waiting, runs }) => sum + granted + waiting.length + runs.size,
      0,
    )
  }

  #step(event: WorkerEvent): void {
    for (const effect of stepWorker(this.worker, event, this.nowMs)) {
      if (effect.kind === 'prepare') {
        this.#later(50, () => this.#step({ kind: 'prepared', contextId: 'context', slots: SLOTS }))
      } else if (effect.kind === 'credit') {
        this.#later(this.#delayMs(), () => this.#send(effect.session, effect.requests))
      } else if (effect.kind === 'run') {
        const session = this.worker.runs.get(effect.run)?.session.id ?? ''
        this.#waiting.push({ run: effect.run, session })
        this.#fillSlots()
      } else if (effect.kind === 'deliver') {
        const keys = effect.results.map(({ n, epoch }) => ({ n, epoch }))
        this.#later(this.#delayMs(), () =>
          this.#step({ kind: 'acknowledged', session: effect.session, keys }),
        )
      }
    }
  }

  #send(session: string, count: number): void {
    const requests = Array.from({ length: count }, () => ({
      n: this.#nextRequest++,
      epoch: 1,
      url: '/v1/completions',
      body: '{}',
    }))
    this.#step({ kind: 'requests', session, requests })
  }

  #fillSlots(): void {
    while (this.#busySlots < SLOTS) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#busySlots += 1
      const tookMs = this.#requestMs(next.session)
      this.#later(tookMs, () => {
        this.#busySlots -= 1
        this.tookMs.set(next.session, (this.tookMs.get(next.session) ?? 0) + tookMs)
        this.done.set(next.session, (this.done.get(next.session) ?? 0) + 1)
        this.#step({ kind: 'done', run: next.run, result: RESULT })
        this.#fillSlots()
      })
    }
  }

  #later(delayMs: number, run: () => void): void {
    this.#queue.push({ atMs: this.nowMs + delayMs, order: this.#order++, run })
  }
}

describe('the window of credit follows the rate at which a peer answers', () => {
  test.each([
    ['2 s a request: what is in the slots, and one or two that wait', 2_000, 9, 10],
    ['100 ms a request: a quarter of a second ahead', 100, 26, 30],
    ['10 ms a request: ten times as much', 10, 190, 220],
  ])('%s', (_name, requestMs, least, most) => {
    const bench = new Bench(
      () => requestMs,
      () => 1,
    )
    bench.open('s1', 0)
    bench.run(60_000 + requestMs)
    expect(bench.window()).toBeGreaterThanOrEqual(least)
    expect(bench.window()).toBeLessThanOrEqual(most)
  })

  test('however fast it is, there is a bound', () => {
    const worker = createWorker(WORKER_DEFAULTS)
    const step = (event: WorkerEvent, nowMs: number): number =>
      stepWorker(worker, event, nowMs).reduce(
        (sum, effect) => sum + (effect.kind === 'credit' ? effect.requests : 0),
        0,
      )
    step({ kind: 'opened', session: 's1', submitter: 's1', job: 'job', contextId: 'context' }, 0)
    let out = step({ kind: 'prepared', contextId: 'context', slots: SLOTS }, 0)
    let nextRequest = 0
    let finished = 0
    for (let nowMs = 0; nowMs < 60; nowMs += 1) {
      const requests = Array.from({ length: out }, () => ({ n: nextRequest++, epoch: 1, url: '', body: '' }))
      out = step({ kind: 'requests', session: 's1', requests }, nowMs)
      while (finished < nextRequest) {
        finished += 1
        out += step({ kind: 'done', run: finished, result: RESULT }, nowMs + 0.9)
      }
      for (const key of requests) step({ kind: 'acknowledged', session: 's1', keys: [key] }, nowMs + 0.9)
    }
    expect(out).toBeLessThanOrEqual(TASK_CREDIT_MAX)
    expect(out).toBeGreaterThan(TASK_CREDIT_MAX / 2)
  })
})

describe('fair shares', () => {
  test('two equal submitters get 50 ± 5 %, whatever the order of arrival and the delays', () => {
    const worlds = fc.record({
      seed: fc.integer({ min: 1, max: 2 ** 31 }),
      secondAfterMs: fc.integer({ min: 0, max: 3_000 }),
      requestMs: fc.constantFrom(5, 20, 200),
      delayMs: fc.constantFrom(0, 1, 5),
      spread: fc.constantFrom(0, 0.5, 1),
    })
    fc.assert(
      fc.property(worlds, ({ seed, secondAfterMs, requestMs, delayMs, spread }) => {
        const random = seededRandom(seed)
        const around = (mean: number) => (): number => mean * randomBetween(random, 1 - spread, 1 + spread)
        const bench = new Bench(around(requestMs), around(delayMs))
        bench.open('s1', 0)
        bench.open('s2', secondAfterMs)
        // What the first was given while it was alone is a quarter of a second's work.
        bench.run(secondAfterMs + 1_000 + 20 * requestMs)
        const before = new Map(bench.done)
        bench.run(bench.nowMs + 150 * requestMs)
        const gained = (session: string): number =>
          (bench.done.get(session) ?? 0) - (before.get(session) ?? 0)
        const share = gained('s1') / (gained('s1') + gained('s2'))
        expect(gained('s1') + gained('s2')).toBeGreaterThan(200)
        expect(share).toBeGreaterThan(0.45)
        expect(share).toBeLessThan(0.55)
      }),
      { numRuns: 60 },
    )
  })

  test.each([10, 100])(
    'one with requests that cost %i times as much gets half of the slot time, not of the turns',
    (times) => {
      const random = seededRandom(7)
      const bench = new Bench(
        (session) => (session === 'dear' ? 20 * times : 20) * randomBetween(random, 0.5, 1.5),
        () => 1,
      )
      bench.open('dear', 0)
      bench.open('cheap', 0)
      bench.run(400 * times)
      const [dear, cheap] = [bench.tookMs.get('dear') ?? 0, bench.tookMs.get('cheap') ?? 0]
      expect(dear / (dear + cheap)).toBeGreaterThan(0.4)
      expect(dear / (dear + cheap)).toBeLessThan(0.6)
    },
  )

  test('a submitter with three jobs gets no more than one with a single job', () => {
    const bench = new Bench(
      () => 20,
      () => 1,
    )
    for (const session of ['a1', 'a2', 'a3']) bench.open(session, 0, 'alice')
    bench.open('b1', 0, 'bob')
    bench.run(20_000)
    const all = [...bench.done.values()].reduce((sum, count) => sum + count, 0)
    expect((bench.done.get('b1') ?? 0) / all).toBeGreaterThan(0.45)
    expect((bench.done.get('b1') ?? 0) / all).toBeLessThan(0.55)
  })
})
