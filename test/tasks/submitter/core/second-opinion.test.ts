import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import { step } from '../../../../src/tasks/submitter/core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorOptions,
  type CoordinatorStart,
} from '../../../../src/tasks/submitter/core/coordinator-state.ts'
import { nextTickMs } from '../../../../src/tasks/submitter/core/pace.ts'
import type { Candidate } from '../../../../src/tasks/submitter/core/candidate.ts'
import type { Outcome } from '../../../../src/tasks/wire/task-messages.ts'

const { aloneMs, judgeMs, failuresInRowMax } = COORDINATOR_DEFAULTS

class Job {
  readonly state: ReturnType<typeof createCoordinator>
  readonly #random = seededRandom(1)
  nowMs = 0

  constructor(
    requests: number,
    options: Partial<CoordinatorOptions> = {},
    leases: CoordinatorStart['leases'] = [],
  ) {
    this.state = createCoordinator(
      { ranges: [{ from: 0, to: requests }], leases },
      { ...COORDINATOR_DEFAULTS, ...options },
    )
    this.tell({ kind: 'start' })
  }

  tell(event: CoordinatorEvent): CoordinatorEffect[] {
    const effects = step(this.state, event, this.nowMs, this.#random)
    return effects.filter(({ kind }) => kind !== 'find' && kind !== 'acknowledge')
  }

  find(peer: string, tier: Candidate['tier'] = 'warm'): CoordinatorEffect[] {
    return this.tell({ kind: 'candidates', candidates: [{ peer, tier, accepts: true }] })
  }

  /** A peer with a link and credit. */
  link(peer: string, credit: number): CoordinatorEffect[] {
    this.find(peer)
    this.tell({ kind: 'opened', peer })
    this.tell({ kind: 'status', peer, phase: 'ready' })
    return this.tell({ kind: 'credit', peer, requests: credit })
  }

  answer(peer: string, n: number, outcome: Outcome, code?: string): CoordinatorEffect[] {
    const epoch = this.state.leases.get(n)?.epoch ?? this.state.ended.get(n)?.epoch ?? 1
    return this.tell({ kind: 'result', peer, key: { n, epoch }, outcome, code })
  }

  /** Ticks when one is due, as a shell does, up to a time. */
  waitUntil(untilMs: number): CoordinatorEffect[] {
    const effects: CoordinatorEffect[] = []
    while (this.nowMs < untilMs) {
      this.nowMs += 100
      for (const { peer } of this.state.book.openPeers()) this.tell({ kind: 'heard', peer })
      if (this.nowMs >= nextTickMs(this.state)) effects.push(...this.tell({ kind: 'tick' }))
    }
    return effects
  }
}

const commit = (peer: string, n: number, epoch: number): CoordinatorEffect => ({
  kind: 'commit',
  peer,
  key: { n, epoch },
})
const send = (peer: string, n: number, epoch: number): CoordinatorEffect => ({
  kind: 'send',
  peer,
  leases: [{ n, epoch }],
})
const accept = (peer: string, n: number, epoch: number): CoordinatorEffect => ({
  kind: 'accept',
  peer,
  key: { n, epoch },
})
const kinds = (effects: readonly CoordinatorEffect[]): string[] => effects.map(({ kind }) => kind)

describe('a context that can never run', () => {
  const refuse = (job: Job, peer: string, reason: string): CoordinatorEffect[] =>
    job.tell({ kind: 'status', peer, phase: 'refused', reason, detail: 'an unknown operator' })

  test('ends its job with the reason, as soon as every holder says so', () => {
    const job = new Job(1)
    for (const peer of ['a', 'b']) job.link(peer, 0)
    refuse(job, 'a', 'model-unsupported')
    expect(kinds(job.waitUntil(aloneMs + 1_000))).not.toContain('give-up')
    refuse(job, 'b', 'context-invalid')
    const end = job.waitUntil(job.nowMs + 200).find(({ kind }) => kind === 'give-up')
    expect(end).toMatchObject({
      reason: { code: 'model-unsupported', words: expect.stringContaining('an unknown operator') },
    })
  })

  test('waits for another holder in the first moments', () => {
    const job = new Job(1)
    job.link('a', 0)
    refuse(job, 'a', 'model-unsupported')
    expect(kinds(job.waitUntil(aloneMs - 100))).not.toContain('give-up')
    expect(kinds(job.waitUntil(aloneMs + 100))).toContain('give-up')
  })

  test('is not concluded from a refusal that may end', () => {
    const job = new Job(1)
    for (const peer of ['a', 'b']) job.link(peer, 0)
    refuse(job, 'a', 'model-unsupported')
    refuse(job, 'b', 'paused')
    expect(kinds(job.waitUntil(20_000))).not.toContain('give-up')
  })
})

describe('an error that a peer reports', () => {
  test('that is redelivered after a restart goes to a second peer, before its turn and in it', () => {
    const openLeases = [{ n: 1, epoch: 1, holders: ['a'] }]
    const job = new Job(3, {}, openLeases)
    job.find('a')
    job.tell({ kind: 'opened', peer: 'a' })
    job.answer('a', 1, 'bad-request', 'request-invalid')
    job.tell({ kind: 'status', peer: 'a', phase: 'ready' })
    const effects = job.tell({ kind: 'credit', peer: 'a', requests: 3 })
    const sent = effects.flatMap((effect) => (effect.kind === 'send' ? effect.leases : []))
    expect(sent.map(({ n }) => n)).toEqual([0, 2])
    expect(job.link('b', 1)).toContainEqual(send('b', 1, 2))
  })

  test('goes to a second peer, and is final when that one says the same', () => {
    const job = new Job(1)
    job.link('a', 1)
    job.link('b', 1)
    expect(job.answer('a', 0, 'bad-request', 'request-invalid')).toEqual([
      { kind: 'doubt', peer: 'a', key: { n: 0, epoch: 1 }, code: 'request-invalid' },
      send('b', 0, 2),
    ])
    expect(job.answer('b', 0, 'bad-request', 'request-invalid')).toEqual([commit('b', 0, 2)])
  })

  test('is dropped when a second peer answers the request', () => {
    const job = new Job(1)
    job.link('a', 1)
    job.link('b', 1)
    job.answer('a', 0, 'bad-request', 'request-invalid')
    expect(job.answer('b', 0, 'ok')).toEqual([commit('b', 0, 2)])
    expect(job.state.book.get('a')?.contradicted).toBe(1)
  })

  test('is not confirmed by the peer that reported it, however often it does', () => {
    const job = new Job(1)
    job.link('a', 8)
    job.link('b', 0)
    expect(kinds(job.answer('a', 0, 'bad-request', 'lie'))).toEqual(['doubt'])
    expect(job.answer('a', 0, 'bad-request', 'lie')).toEqual([])
    expect(job.answer('a', 0, 'ok')).toEqual([])
    expect(job.tell({ kind: 'credit', peer: 'a', requests: 4 })).toEqual([])
    expect(job.tell({ kind: 'credit', peer: 'b', requests: 1 })).toEqual([send('b', 0, 2)])
  })

  test('is asked of a third peer when two peers give different errors', () => {
    const job = new Job(1)
    for (const peer of ['a', 'b', 'c']) job.link(peer, 1)
    job.answer('a', 0, 'bad-request', 'one')
    expect(kinds(job.answer('b', 0, 'bad-request', 'two'))).toEqual(['doubt', 'send'])
    expect(job.answer('c', 0, 'bad-request', 'two')).toEqual([commit('c', 0, 3)])
  })

  test('is final at once from the own peer of the submitter', () => {
    const job = new Job(1, { ownPeer: 'a' })
    job.link('a', 1)
    job.link('b', 1)
    expect(job.answer('a', 0, 'bad-request', 'request-invalid')).toEqual([commit('a', 0, 1)])
  })

  test('is accepted at once when no second peer was there for a while', () => {
    const job = new Job(1)
    job.link('a', 1)
    job.waitUntil(aloneMs)
    expect(kinds(job.answer('a', 0, 'bad-request', 'x'))).toEqual(['doubt', 'accept'])
  })

  test('waits for a second peer at the beginning of a job, and not longer than that', () => {
    const job = new Job(1)
    job.link('a', 1)
    expect(kinds(job.answer('a', 0, 'bad-request', 'x'))).toEqual(['doubt'])
    expect(job.waitUntil(aloneMs - 100)).toEqual([])
    expect(job.waitUntil(aloneMs + 300)).toEqual([accept('a', 0, 1)])
    const committed: CoordinatorEvent = { kind: 'committed', peer: 'a', key: { n: 0, epoch: 1 } }
    expect(kinds(job.tell(committed))).toEqual(['finish'])
  })

  test('recruits a peer that has the files, though that would not pay back', () => {
    const job = new Job(20, { loadMs: 600_000 })
    job.link('a', 20)
    for (let n = 0; n < 19; n += 1) {
      job.nowMs += 10
      job.answer('a', n, 'ok')
    }
    expect(job.find('b', 'stored')).toEqual([])
    job.answer('a', 19, 'bad-request', 'x')
    expect(job.waitUntil(400)).toEqual([{ kind: 'open', peer: 'b' }])
    job.tell({ kind: 'opened', peer: 'b' })
    job.waitUntil(20_000)
    expect(job.tell({ kind: 'credit', peer: 'b', requests: 1 })).toEqual([send('b', 19, 2)])
  })

  test('is accepted when the second peer does not answer in time', () => {
    const job = new Job(1)
    job.link('a', 1)
    job.link('b', 1)
    job.answer('a', 0, 'bad-request', 'x')
    expect(job.waitUntil(judgeMs - 100)).toEqual([])
    expect(job.waitUntil(judgeMs + 300)).toEqual([accept('a', 0, 2)])
    const committed: CoordinatorEvent = { kind: 'committed', peer: 'a', key: { n: 0, epoch: 2 } }
    expect(kinds(job.tell(committed))).toEqual(['cancel', 'finish'])
  })

  test('stands when no other peer can run the request', () => {
    const job = new Job(1)
    job.link('a', 1)
    job.link('b', 1)
    job.answer('a', 0, 'bad-request', 'x')
    job.answer('b', 0, 'retry')
    expect(job.waitUntil(aloneMs + 300)).toEqual([accept('a', 0, 2)])
  })

  test('still goes to another peer when the second one is lost', () => {
    const job = new Job(1)
    job.link('a', 1)
    job.link('b', 1)
    job.answer('a', 0, 'bad-request', 'x')
    job.tell({ kind: 'lost', peer: 'b', reason: 'cut' })
    expect(job.link('c', 1)).toEqual([send('c', 0, 3)])
    expect(job.answer('c', 0, 'ok')).toEqual([commit('c', 0, 3)])
  })

  test('of a peer whose errors others contradict, costs that peer its link', () => {
    const job = new Job(failuresInRowMax)
    job.link('liar', failuresInRowMax)
    for (let n = 0; n < failuresInRowMax; n += 1) job.answer('liar', n, 'bad-request', 'lie')
    job.link('b', failuresInRowMax)
    const effects = job.state.leases
      .keys()
      .toArray()
      .flatMap((n) => job.answer('b', n, 'ok'))
    const words = `it refused ${failuresInRowMax} requests that another peer answered`
    expect(effects).toContainEqual({ kind: 'close', peer: 'liar', reason: words })
    expect(job.state.book.get('liar')?.refusal).toEqual({ code: 'failing', words })
  })

  test('does not count twice: a peer with many unconfirmed errors gets no new requests, but confirms others', () => {
    const job = new Job(6, { doubtedMax: 2 })
    job.link('a', 2)
    job.link('b', 0)
    job.answer('a', 0, 'bad-request', 'x')
    job.answer('a', 1, 'bad-request', 'x')
    expect(job.tell({ kind: 'credit', peer: 'a', requests: 2 })).toEqual([])
    job.tell({ kind: 'credit', peer: 'b', requests: 3 })
    expect(kinds(job.answer('b', 2, 'bad-request', 'x'))).toEqual(['doubt', 'send'])
    expect(job.answer('a', 2, 'bad-request', 'x')).toEqual([commit('a', 2, 2)])
  })
})
