// One submitter, hostile or broken, does not stop a worker for others.
import { describe, expect, test } from 'vitest'
import {
  JSON_DEPTH_MAX,
  SUBMITTER_UNDELIVERED_BYTES_MAX,
  SUBMITTER_UNDELIVERED_RESULTS_MAX,
  TASK_SESSIONS_MAX,
  UNDELIVERED_RESULT_BYTES_MAX,
} from '../../../../src/base/limits.ts'
import { ResultLedger } from '../../../../src/tasks/worker/core/result-ledger.ts'
import { STUCK_MS_MIN, STUCK_TIMES } from '../../../../src/tasks/worker/core/stuck-runs.ts'
import { stepWorker } from '../../../../src/tasks/worker/core/worker.ts'
import {
  createWorker,
  WORKER_CORE_DEFAULTS,
  type WorkerEffect,
  type WorkerEvent,
} from '../../../../src/tasks/worker/core/worker-state.ts'

const SLOTS = 4
const BODY = '{"prompt":"hello"}'

type RunResult = Extract<WorkerEvent, { kind: 'done' }>['result']

const answer = (body: string): RunResult => ({
  outcome: 'ok',
  statusCode: 200,
  body,
  promptTokens: 1,
  completionTokens: 1,
})

/** A worker, its clock, and what it told the engine and its submitters. */
class Worker {
  readonly state = createWorker(WORKER_CORE_DEFAULTS)
  readonly credit = new Map<string, number>()
  readonly started: { run: number; n: number }[] = []
  nowMs = 0
  #sessions = 0
  #nextRequest = 0

  step(event: WorkerEvent): WorkerEffect[] {
    const effects = stepWorker(this.state, event, this.nowMs)
    for (const effect of effects) {
      if (effect.kind === 'run') this.started.push({ run: effect.run, n: effect.request.n })
      if (effect.kind !== 'credit') continue
      this.credit.set(effect.session, (this.credit.get(effect.session) ?? 0) + effect.requests)
    }
    return effects
  }

  open(submitter: string): string {
    const session = `${submitter}-${this.#sessions++}`
    this.step({ kind: 'opened', session, submitter, job: session, contextId: 'context' })
    this.step({ kind: 'prepared', contextId: 'context', slots: SLOTS })
    return session
  }

  /** Sends so many requests, at most the credit. Returns what came of them. */
  send(session: string, count = this.credit.get(session) ?? 0, body = BODY): WorkerEffect[] {
    this.credit.set(session, (this.credit.get(session) ?? 0) - count)
    const requests = Array.from({ length: count }, () => ({
      n: this.#nextRequest++,
      epoch: 1,
      url: '/v1/completions',
      body,
    }))
    return this.step({ kind: 'requests', session, requests })
  }

  answerAll(body: string): void {
    for (const run of this.state.runs.keys()) this.step({ kind: 'done', run, result: answer(body) })
  }

  /** The clock goes on, tick by tick; `each` happens at every tick. */
  wait(ms: number, each: () => void = () => {}): WorkerEffect[] {
    const effects: WorkerEffect[] = []
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += 1_000
      each()
      effects.push(...this.step({ kind: 'tick' }))
    }
    return effects
  }
}

describe('results that are not acknowledged', () => {
  test('fill the bound of their submitter only: others get the whole window', () => {
    const worker = new Worker()
    const mallory = worker.open('mallory')
    const echo = 'x'.repeat(400_000)
    for (let turn = 0; turn < 20 && (worker.credit.get(mallory) ?? 0) > 0; turn += 1) {
      worker.send(mallory)
      worker.answerAll(echo)
    }
    expect(worker.state.ledger.isFull(worker.state.sessions.get(mallory)!.results)).toBe(true)
    const anna = worker.open('anna')
    expect(worker.credit.get(anna)).toBeGreaterThanOrEqual(2 * SLOTS)
    worker.send(anna)
    expect(worker.state.runs.size).toBe(2 * SLOTS)
  })

  test('are bounded for one submitter in bytes and in count, also of one that is away', () => {
    const ledger = new ResultLedger(WORKER_CORE_DEFAULTS)
    const [large, small] = [ledger.open('mallory', 'large'), ledger.open('mallory', 'small')]
    const result = (n: number, length: number) => ({ ...answer('x'.repeat(length)), n, epoch: 1 })
    const [anna] = [ledger.open('anna', 'job')]
    ledger.add(anna, result(0, 1), 0)
    for (let n = 0; n < 40; n += 1) ledger.add(large, result(n, 450_000), n)
    expect(ledger.bytes).toBeLessThanOrEqual(2 * SUBMITTER_UNDELIVERED_BYTES_MAX + 1_000)
    expect(ledger.of(large).at(-1)?.n).toBe(39)
    for (let n = 0; n < 3 * SUBMITTER_UNDELIVERED_RESULTS_MAX; n += 1) ledger.add(small, result(n, 1), n)
    expect(ledger.of(small).length).toBeLessThanOrEqual(2 * SUBMITTER_UNDELIVERED_RESULTS_MAX)
    expect(ledger.of(anna)).toHaveLength(1)
    expect(() => ledger.check()).not.toThrow()
  })

  test('of many identities are bounded in all, and whoever has most loses its oldest', () => {
    const ledger = new ResultLedger(WORKER_CORE_DEFAULTS)
    const anna = ledger.open('anna', 'job')
    ledger.add(anna, { ...answer('{}'), n: 0, epoch: 1 }, 0)
    for (let n = 0; n < 160; n += 1) {
      const one = ledger.open(`mallory-${n % 16}`, 'job')
      ledger.add(one, { ...answer('x'.repeat(450_000)), n, epoch: 1 }, n)
    }
    expect(ledger.bytes).toBeLessThanOrEqual(UNDELIVERED_RESULT_BYTES_MAX)
    expect(ledger.of(anna)).toHaveLength(1)
    expect(() => ledger.check()).not.toThrow()
    ledger.expire(WORKER_CORE_DEFAULTS.undeliveredAgeMsMax + 160)
    expect(ledger.entries).toBe(0)
  })
})

describe('a request that no engine should see', () => {
  const deep = (levels: number): string =>
    `{"prompt":${'['.repeat(levels - 1)}"${'[{'.repeat(100)}"${']'.repeat(levels - 1)}}`
  test.each([
    ['nested too deeply', deep(JSON_DEPTH_MAX + 1)],
    ['nested 100,000 levels deep', deep(100_000)],
    [
      'for more tokens than can be counted',
      '{"max_tokens" : 99999999999,"prompt":"a prompt of usual length, nothing more"}',
    ],
    ['too long', `{"prompt":"${'x'.repeat(2 ** 20)}"}`],
  ])('is answered with an error: %s', (_name, body) => {
    const worker = new Worker()
    const session = worker.open('mallory')
    const results = worker
      .send(session, 1, body)
      .flatMap((effect) => (effect.kind === 'deliver' ? effect.results : []))
    expect(worker.started).toEqual([])
    expect(results).toMatchObject([{ outcome: 'bad-request', statusCode: 400 }])
    expect(JSON.parse(results[0]!.body)).toMatchObject({ code: 'request-invalid' })
  })

  test('is no other: a prompt may hold what looks like it', () => {
    const worker = new Worker()
    const session = worker.open('anna')
    const prompt = `${'[{'.repeat(200)} "max_tokens": 99999999999 \\" ${'\\'.repeat(9)}`
    worker.send(session, 1, JSON.stringify({ prompt, max_tokens: 5 }))
    worker.send(session, 1, deep(JSON_DEPTH_MAX))
    expect(worker.started).toHaveLength(2)
  })
})

describe('a request without progress', () => {
  const takenFrom = (effects: WorkerEffect[]): number[] =>
    effects.flatMap((effect) => (effect.kind === 'stop-run' ? [effect.run] : []))

  test('is taken away after its time, and returned as a failure of this peer', () => {
    const worker = new Worker()
    const mallory = worker.open('mallory')
    worker.send(mallory, SLOTS)
    expect(takenFrom(worker.wait(STUCK_MS_MIN))).toEqual([])
    const effects = worker.wait(2_000)
    expect(takenFrom(effects)).toEqual([1, 2, 3, 4])
    const results = effects.flatMap((effect) => (effect.kind === 'deliver' ? effect.results : []))
    expect(results.map(({ outcome }) => outcome)).toEqual(Array(SLOTS).fill('retry'))
    expect(worker.state.runs.size).toBe(0)
  })

  test('keeps its slot while the engine computes something of it, or of those before it', () => {
    const worker = new Worker()
    const anna = worker.open('anna')
    worker.send(anna, SLOTS + 2)
    const effects = worker.wait(10 * STUCK_MS_MIN, () => worker.step({ kind: 'progressed', runs: [1] }))
    expect(takenFrom(effects)).toEqual([])
    // A later one that has begun shows that those before it had their chance.
    worker.step({ kind: 'progressed', runs: [4] })
    expect(takenFrom(worker.wait(2_000, () => worker.step({ kind: 'progressed', runs: [1, 4] })))).toEqual([
      2, 3,
    ])
  })

  test('has twenty times its usual time where that is longer', () => {
    const worker = new Worker()
    const anna = worker.open('anna')
    worker.send(anna, 1)
    worker.wait(10_000)
    worker.answerAll('{}')
    worker.send(anna, 1)
    expect(takenFrom(worker.wait(STUCK_TIMES * 10_000))).toEqual([])
    expect(takenFrom(worker.wait(2_000))).toEqual([2])
  })

  test('is not blamed for the sleep of the machine', () => {
    const worker = new Worker()
    const anna = worker.open('anna')
    worker.send(anna, 1)
    worker.wait(2_000)
    worker.nowMs += 3_600_000
    expect(takenFrom(worker.wait(30_000))).toEqual([])
  })
})

describe('sessions that do nothing', () => {
  test('leave their part of the window to those that work', () => {
    const worker = new Worker()
    for (let one = 0; one < 16; one += 1) worker.open(`idle-${one}`)
    worker.nowMs = 5_000
    const anna = worker.open('anna')
    expect(worker.credit.get(anna)).toBeGreaterThanOrEqual(2 * SLOTS)
  })

  test('make room for another submitter where all are taken', () => {
    const worker = new Worker()
    for (let one = 0; one < TASK_SESSIONS_MAX; one += 1) worker.open(`idle-${one % 16}`)
    expect(worker.state.sessions.size).toBe(TASK_SESSIONS_MAX)
    worker.nowMs = 20_000
    const anna = worker.open('anna')
    expect(worker.state.sessions.has(anna)).toBe(true)
    expect(worker.state.sessions.size).toBe(TASK_SESSIONS_MAX)
    expect(worker.state.sessions.has(worker.open('idle-0'))).toBe(false)
  })

  test('do so when they are busy, too, where one submitter has many', () => {
    const worker = new Worker()
    const sessions = Array.from({ length: TASK_SESSIONS_MAX }, () => worker.open('mallory'))
    for (const session of sessions) worker.send(session)
    const anna = worker.open('anna')
    expect(worker.state.sessions.has(anna)).toBe(true)
    worker.open('mallory')
    expect(worker.state.sessions.has(anna)).toBe(true)
  })
})
