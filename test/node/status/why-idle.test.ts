import { describe, expect, test } from 'vitest'
import { HearthError } from '../../../src/base/errors.ts'
import type { ContextStatus } from '../../../src/node/status/peer-status.ts'
import { whyIdle, type IdleFacts } from '../../../src/node/status/why-idle.ts'

const TASKS: IdleFacts['tasks'] = {
  accepts: true,
  reason: '',
  sessions: [],
  running: 0,
  undeliveredBytes: 0,
  completed: 0,
  lastFailure: undefined,
}
const SESSION = { submitter: 'S', job: 'J', contextId: 'bafyfacts', running: 0 }
const FAILURE = { contextId: 'bafyfacts', reason: 'model-unsupported', detail: 'it has an operator Loop' }

function contextAt(tier: ContextStatus['tier'], share = 1): ContextStatus {
  const nothing = { engine: undefined, provider: undefined, numericClass: undefined, slots: undefined }
  const isNot = { isPinned: false, isFetching: false, isBusy: false }
  return {
    contextId: 'bafyfacts',
    names: ['facts'],
    tier,
    share,
    bytes: 1,
    fetchedFrom: [],
    ...isNot,
    ...nothing,
  }
}

function ask(change: Partial<IdleFacts>, tasks: Partial<IdleFacts['tasks']> = {}) {
  const facts = { connectedPeers: 2, contexts: [contextAt('stored')], joinError: undefined, ...change }
  return whyIdle({ ...facts, tasks: { ...TASKS, ...tasks } })
}

describe('a peer that is up', () => {
  test('and has requests running is not idle', () => {
    expect(ask({}, { running: 1, sessions: [SESSION] })).toBeUndefined()
  })

  const mismatch = new HearthError('swarm-mismatch', 'it is of another swarm')
  const waits = { sessions: [SESSION] }
  test.each<[string, string, RegExp, Partial<IdleFacts>, Partial<IdleFacts['tasks']>]>([
    ['is paused', 'paused', /until you run "hearth resume"/, {}, { accepts: false, reason: 'paused' }],
    ['is leaving', 'draining', /shutting down/, {}, { accepts: false, reason: 'draining' }],
    [
      'takes none for another reason',
      'on-battery',
      /on-battery/,
      {},
      { accepts: false, reason: 'on-battery' },
    ],
    [
      'is paused, and alone',
      'paused',
      /hearth resume/,
      { connectedPeers: 0 },
      { accepts: false, reason: 'paused' },
    ],
    ['could not join', 'swarm-mismatch', /another swarm/, { connectedPeers: 0, joinError: mismatch }, {}],
    ['is alone', 'no-peers', /No other peer/, { connectedPeers: 0 }, {}],
    ['is fetching', 'fetching', /"facts" is fetched, 40 %/, { contexts: [contextAt('partial', 0.4)] }, waits],
    ['is about to fetch', 'fetching', /context bafyfacts is fetched, 0 %/, { contexts: [] }, waits],
    ['has not begun to load', 'loading', /"facts" is loaded/, {}, waits],
    ['is loading', 'loading', /"facts" is loaded/, { contexts: [contextAt('loading')] }, waits],
    ['waits for the submitter', 'no-requests', /no request/, { contexts: [contextAt('warm')] }, waits],
    ['could not load', 'model-unsupported', /"facts", which could not .* Loop/, {}, { lastFailure: FAILURE }],
    [
      'holds nothing',
      'no-contexts',
      /^Ready\. The first job will fetch its model; nothing to do$/,
      { contexts: [] },
      {},
    ],
    ['is ready', 'no-job', /No peer has a job/, {}, {}],
  ])('and %s says so: %s', (_what, code, words, facts, tasks) => {
    expect(ask(facts, tasks)).toEqual({ code, words: expect.stringMatching(words) })
  })

  test('and was joined by others after a failed attempt of its own is not said to be alone', () => {
    expect(ask({ joinError: mismatch })).toMatchObject({ code: 'no-job' })
  })
})
