import { describe, expect, test } from 'vitest'
import {
  submitterMessageSchema,
  wireForm,
  workerMessageSchema,
  type SubmitterMessage,
  type WorkerMessage,
} from '../../../src/tasks/wire/task-messages.ts'

const KEYS = [
  { n: 0, epoch: 1 },
  { n: 7, epoch: 3 },
]
const REQUEST = { n: 4, epoch: 1, url: '/v1/completions', body: '{"prompt":"x"}', isPrefixed: false }
const RESULT = { n: 4, epoch: 1, statusCode: 200, body: '{}', promptTokens: 3, completionTokens: 1 }

describe('what is sent is what is read', () => {
  test.each<SubmitterMessage>([
    { type: 'open', job: 'job', contextId: 'context' },
    { type: 'requests', requests: [REQUEST, { ...REQUEST, n: 5, isPrefixed: true }], lease: 2 },
    { type: 'acknowledge', results: KEYS },
    { type: 'cancel', requests: [] },
  ])('by a submitter: $type', (message) => {
    expect(submitterMessageSchema.parse(wireForm(message))).toEqual(message)
  })

  test.each<WorkerMessage>([
    { type: 'credit', requests: 3 },
    { type: 'results', results: [{ ...RESULT, outcome: 'ok' }], credit: 1 },
    { type: 'returned', requests: KEYS },
  ])('by a worker: $type', (message) => {
    expect(workerMessageSchema.parse(wireForm(message))).toEqual(message)
  })
})

test.each([
  ['lists that differ in length', { n: [0, 1], epoch: [1] }],
  ['a field too few', { n: [0] }],
  ['a field too many', { n: [0], epoch: [1], url: ['x'] }],
  ['an epoch that no lease has', { n: [0], epoch: [0] }],
  ['more entries than a frame may hold', { n: Array(257).fill(0), epoch: Array(257).fill(1) }],
  ['a list of objects, as version 1 had', [{ n: 0, epoch: 1 }]],
])('%s are refused', (_what, requests) => {
  expect(submitterMessageSchema.safeParse({ type: 'cancel', requests }).success).toBe(false)
})
