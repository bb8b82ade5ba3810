import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import { step } from '../../../../src/tasks/submitter/core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
  type CoordinatorState,
  type CoordinatorEvent,
} from '../../../../src/tasks/submitter/core/coordinator-state.ts'
import { stepWorker } from '../../../../src/tasks/worker/core/worker.ts'
import {
  createWorker,
  type WorkerState,
  type WorkerEvent,
} from '../../../../src/tasks/worker/core/worker-state.ts'
import { WORKER_DEFAULTS } from '../../../../src/tasks/worker/worker.ts'

const RESULT = { outcome: 'ok' as const, statusCode: 200, body: '{}', promptTokens: 1, completionTokens: 1 }
const LINK_MS = 2

interface PeerOptions {
  slots: number
  requestMs: number
  /** From then on nothing is heard of it, and nothing in it goes on. */
  freezesAtMs?: number
}

/** A job on peers of different speed, each with slots that take requests in their order, on virtual time. */
class Swarm {
  executions = 0
  endedAtMs = Infinity
  nowMs = 0
  readonly #coordinator: CoordinatorState
  readonly #peers: { worker: WorkerState; options: PeerOptions; waiting: number[]; busy: number }[]
  readonly #random = seededRandom(1)
  #queue: { atMs: number; order: number; run: () => void }[] = []
  #order = 0

  constructor(requests: number, peers: readonly PeerOptions[]) {
    this.#coordinator = createCoordinator({ ranges: [{ from: 0, to: requests }] }, COORDINATOR_DEFAULTS)
    this.#peers = peers.map((options) => ({
      worker: createWorker(WORKER_DEFAULTS),
      options,
      waiting: [],
      busy: 0,
    }))
  }

  run(): this {
    this.#submitter({ kind: 'start' })
    const candidates = this.#peers.map((_, index) => ({
      peer: String(index),
      tier: 'warm' as const,
      accepts: true,
    }))
    this.#submitter({ kind: 'candidates', candidates })
    const tick = (): void => {
      this.#submitter({ kind: 'tick' })
      this.#later(100, tick)
    }
    tick()
    while (this.endedAtMs === Infinity && this.nowMs < 3_600_000) {
      let next = 0
      for (const [index, { atMs, order }] of this.#queue.entries()) {
        const first = this.#queue[next]!
        if (atMs < first.atMs || (atMs === first.atMs && order < first.order)) next = index
      }
      const [event] = this.#queue.splice(next, 1)
      if (event === undefined) break
      this.nowMs = event.atMs
      event.run()
    }
    return this
  }

  #submitter(event: CoordinatorEvent): void {
    for (const effect of step(this.#coordinator, event, this.nowMs, this.#random)) {
      if (effect.kind === 'finish') this.endedAtMs = this.nowMs
      else if (effect.kind === 'open') {
        const { peer } = effect
        this.#submitter({ kind: 'opened', peer })
        this.#toPeer(peer, { kind: 'opened', session: 's', submitter: 's', job: 'j', contextId: 'c' })
      } else if (effect.kind === 'close') {
        this.#toPeer(effect.peer, { kind: 'lost', session: 's' })
      } else if (effect.kind === 'send') {
        const requests = effect.leases.map((key) => ({ ...key, url: '', body: '' }))
        this.#toPeer(effect.peer, { kind: 'requests', session: 's', requests })
      } else if (effect.kind === 'acknowledge') {
        this.#toPeer(effect.peer, { kind: 'acknowledged', session: 's', keys: effect.keys })
      } else if (effect.kind === 'cancel') {
        this.#toPeer(effect.peer, { kind: 'cancelled', session: 's', keys: effect.keys })
      } else if (effect.kind === 'commit') {
        const { peer, key } = effect
        this.#later(10, () => this.#submitter({ kind: 'committed', peer, key }))
      }
    }
  }

  #toPeer(name: string, event: WorkerEvent): void {
    this.#later(LINK_MS, () => this.#peerStep(name, event))
  }

  #isFrozen(name: string): boolean {
    return this.nowMs >= (this.#peers[Number(name)]!.options.freezesAtMs ?? Infinity)
  }

  #peerStep(name: string, event: WorkerEvent): void {
    const peer = this.#peers[Number(name)]!
    if (this.#isFrozen(name)) return
    const back = (told: CoordinatorEvent): void => this.#later(LINK_MS, () => this.#submitter(told))
    for (const effect of stepWorker(peer.worker, event, this.nowMs)) {
      if (effect.kind === 'prepare')
        this.#peerStep(name, { kind: 'prepared', contextId: 'c', slots: peer.options.slots })
      else if (effect.kind === 'credit') back({ kind: 'credit', peer: name, requests: effect.requests })
      else if (effect.kind === 'run') peer.waiting.push(effect.run)
      else if (effect.kind === 'stop-run') peer.waiting = peer.waiting.filter((run) => run !== effect.run)
      else if (effect.kind === 'deliver') {
        for (const { n, epoch, outcome } of effect.results)
          back({ kind: 'result', peer: name, key: { n, epoch }, outcome })
      }
    }
    this.#fillSlots(name)
  }

  #fillSlots(name: string): void {
    const peer = this.#peers[Number(name)]!
    while (peer.busy < peer.options.slots) {
      const run = peer.waiting.shift()
      if (run === undefined) return
      peer.busy += 1
      this.executions += 1
      this.#later(peer.options.requestMs, () => {
        peer.busy -= 1
        this.#peerStep(name, { kind: 'done', run, result: RESULT })
      })
    }
  }

  #later(delayMs: number, run: () => void): void {
    this.#queue.push({ atMs: this.nowMs + delayMs, order: this.#order++, run })
  }
}

/** How much longer a job takes than if all its peers were busy until its very end. */
function overIdeal(requests: number, peers: readonly PeerOptions[]): number {
  const perMs = peers.reduce((sum, { slots, requestMs }) => sum + slots / requestMs, 0)
  return (new Swarm(requests, peers).run().endedAtMs * perMs) / requests
}

const EIGHTFOLD = [800, 400, 200, 100].map((requestMs) => ({ slots: 8, requestMs }))

describe('the end of a job on peers of different speed', () => {
  test('rates 1 : 2 : 4 : 8: all are busy until the end, but for 3 % of the time', () => {
    expect(overIdeal(4_500, EIGHTFOLD)).toBeLessThan(1.03)
  })

  test('the slowest freezes shortly before the end: others answer what it had, within 10 %', () => {
    const [slowest, ...others] = EIGHTFOLD
    expect(overIdeal(4_500, [{ ...slowest!, freezesAtMs: 28_000 }, ...others])).toBeLessThan(1.1)
  })

  test('equal peers copy next to nothing', () => {
    const swarm = new Swarm(
      2_000,
      Array.from({ length: 4 }, () => ({ slots: 8, requestMs: 100 })),
    ).run()
    expect(swarm.executions).toBeLessThanOrEqual(2_000 * 1.01)
  })

  test('at any speeds, every job ends, and a frozen peer delays it only briefly', () => {
    const peer = fc.record({
      slots: fc.integer({ min: 1, max: 16 }),
      requestMs: fc.integer({ min: 5, max: 2_000 }),
      freezesAtMs: fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 10_000 })),
    })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.array(peer, { maxLength: 4 }), (requests, some) => {
        const steady = { slots: 4, requestMs: 100 }
        const alone = new Swarm(requests, [steady]).run().endedAtMs
        // A frozen peer costs at most the time after which it is taken as lost.
        expect(new Swarm(requests, [...some, steady]).run().endedAtMs).toBeLessThan(alone * 1.1 + 12_000)
      }),
      { numRuns: 100 },
    )
  })
})
