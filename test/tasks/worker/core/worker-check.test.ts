import { describe, expect, test } from 'vitest'
import { moveContext } from '../../../../src/tasks/worker/core/contexts.ts'
import { checkWorker } from '../../../../src/tasks/worker/core/worker-check.ts'
import {
  createWorker,
  WORKER_CORE_DEFAULTS,
  type ContextPhase,
  type WorkerState,
} from '../../../../src/tasks/worker/core/worker-state.ts'
import { stepWorker } from '../../../../src/tasks/worker/core/worker.ts'

/** A worker with one session that runs two requests on a context with two slots, and has one result to deliver. */
function busyWorker(): WorkerState {
  const state = createWorker(WORKER_CORE_DEFAULTS)
  const session = 'session-1'
  stepWorker(state, { kind: 'opened', session, submitter: 'anna', job: 'job', contextId: 'facts' }, 0)
  stepWorker(state, { kind: 'prepared', contextId: 'facts', slots: 2 }, 0)
  const requests = [0, 1, 2].map((n) => ({ n, epoch: 1, url: '/v1/completions', body: '{}' }))
  stepWorker(state, { kind: 'requests', session, requests }, 0)
  const result = {
    outcome: 'ok',
    statusCode: 200,
    body: '{}',
    promptTokens: 1,
    completionTokens: 1,
  } as const
  stepWorker(state, { kind: 'done', run: 1, result }, 1)
  return state
}

const sessionOf = (state: WorkerState) => state.sessions.get('session-1')!
const contextOf = (state: WorkerState) => state.contexts.get('facts')!

describe('the check of a worker', () => {
  test('passes a worker in the middle of its work', () => {
    const state = busyWorker()
    expect(state.runs.size).toBe(2)
    expect(state.ledger.entries).toBeGreaterThan(0)
    expect(() => checkWorker(state)).not.toThrow()
  })

  const CORRUPTIONS: [string, (state: WorkerState) => void][] = [
    ['the runs of a context are counted', (state) => (contextOf(state).running += 1)],
    ['credit is not negative', (state) => (sessionOf(state).granted = -1)],
    ['sessions have no other runs', (state) => state.runs.delete(2)],
    ['a run is known to its session', (state) => sessionOf(state).runs.delete(1)],
    ['a session takes part in its context once', (state) => contextOf(state).sessions.pop()],
    ['the context of a session is there', (state) => state.contexts.delete('facts')],
    ['the sessions of a submitter are counted', (state) => (sessionOf(state).share.sessions = 2)],
    ['a run has a slot or is ahead of one', (state) => (contextOf(state).inSlots = 0)],
    ['the runs of a submitter are counted', (state) => (sessionOf(state).share.out = 9)],
    ['what is kept for a submitter is counted', (state) => (sessionOf(state).results.account.bytes += 1)],
    ['a paused peer has no sessions', (state) => (state.accepts = false)],
    ['a peer that drains takes nothing new', (state) => (state.isDraining = true)],
    ['requests run on a context that is ready', (state) => (contextOf(state).phase = 'preparing')],
  ]
  test.each(CORRUPTIONS)('says that %s', (what, corrupt) => {
    const state = busyWorker()
    corrupt(state)
    expect(() => checkWorker(state)).toThrow(what)
  })
})

describe('a context of a worker', () => {
  const PHASES: ContextPhase[] = ['idle', 'preparing', 'ready', 'discarding']
  const LEGAL = [
    'idle → preparing',
    'preparing → ready',
    'preparing → discarding',
    'ready → discarding',
    'discarding → idle',
  ]
  const moves = PHASES.flatMap((from) => PHASES.map((to): [ContextPhase, ContextPhase] => [from, to]))
  test.each(moves)('moves from %s to %s only where that is legal', (from, to) => {
    const context = contextOf(busyWorker())
    context.phase = from
    const move = (): void => moveContext(context, to)
    if (LEGAL.includes(`${from} → ${to}`)) expect(move).not.toThrow()
    else expect(move).toThrow('a context goes from one phase to the next')
  })
})
