import { z, type ZodType } from 'zod'
import { REQUESTS_PER_FRAME_MAX, TASK_CREDIT_MAX, TASK_PREFIX_UNITS_MAX } from '../../base/limits.ts'
import type { ProtocolName } from '../../base/stream/network.ts'
import { tableOf, type Columns } from './columns.ts'

/** The task protocol, version 2: docs/protocol/task.md says what each message means. */
export const TASK_PROTOCOL: ProtocolName = 'task/2'

/** A request's number in its job, and the epoch of the peer's lease. */
export interface LeaseKey {
  n: number
  epoch: number
}

/** A request as a peer gets it. */
export interface TaskRequest extends LeaseKey {
  /** The OpenAI endpoint, as '/v1/chat/completions'. */
  url: string
  /** The OpenAI request body as JSON text. */
  body: string
}

/** ok: an answer. bad-request: an error that any peer would give. retry: this peer could not run it. */
export type Outcome = 'ok' | 'bad-request' | 'retry'

/** The outcome of a request on one peer. */
export interface TaskResult extends LeaseKey {
  outcome: Outcome
  statusCode: number
  /** The OpenAI response body as JSON text; of an error, `{"code", "message"}`. */
  body: string
  promptTokens: number
  completionTokens: number
}

/** How far a peer is with the context of a job. */
export type Phase = 'queued' | 'fetching' | 'loading' | 'ready' | 'refused'

/** A request on its way: the `body` of a prefixed one continues the prefix that `open` gave. */
export interface SentRequest extends TaskRequest {
  isPrefixed: boolean
}

/** Messages of a submitter. */
export type SubmitterMessage =
  | {
      type: 'open'
      job: string
      contextId: string
      /** The common prefix of the job's bodies. */
      prefix?: string | undefined
      /** For evaluation: the fixed size of a lease; a peer has one lease at a time. */
      leaseSize?: number | undefined
    }
  /** `lease`: these requests begin a lease of this size; only with a lease size. */
  | { type: 'requests'; requests: SentRequest[]; lease?: number | undefined }
  | { type: 'acknowledge'; results: LeaseKey[] }
  | { type: 'cancel'; requests: LeaseKey[] }
  | { type: 'alive' }

/** Messages of a serving peer. */
export type WorkerMessage =
  /** `reason` is a code, as 'paused', 'draining' or 'context-unavailable'; `detail` is for people. */
  | { type: 'status'; phase: Phase; reason?: string | undefined; detail?: string | undefined }
  | { type: 'credit'; requests: number }
  /** Sent with the credit that they free. */
  | { type: 'results'; results: TaskResult[]; credit?: number | undefined }
  /** Unstarted requests that a draining peer returns; it grants no more credit. */
  | { type: 'returned'; requests: LeaseKey[] }
  | { type: 'alive' }

const n = z.number().int().nonnegative()
const epoch = z.number().int().positive()
const leaseSize = z.number().int().positive().max(TASK_CREDIT_MAX)
const tokens = z.number().int().nonnegative()
const leaseKeys = tableOf<LeaseKey>({ n, epoch }, REQUESTS_PER_FRAME_MAX, (columns, row) => ({
  n: columns.n[row] as number,
  epoch: columns.epoch[row] as number,
}))
const sentRequests = tableOf<SentRequest>(
  { n, epoch, url: z.string().max(64), body: z.string(), isPrefixed: z.boolean() },
  REQUESTS_PER_FRAME_MAX,
  (columns, row) => ({
    n: columns.n[row] as number,
    epoch: columns.epoch[row] as number,
    url: columns.url[row] as string,
    body: columns.body[row] as string,
    isPrefixed: columns.isPrefixed[row] as boolean,
  }),
)
const credit = z.number().int().positive().max(65_536)
const taskResults = tableOf<TaskResult>(
  {
    n,
    epoch,
    outcome: z.enum(['ok', 'bad-request', 'retry']),
    statusCode: z.number().int().min(100).max(599),
    body: z.string(),
    promptTokens: tokens,
    completionTokens: tokens,
  },
  REQUESTS_PER_FRAME_MAX,
  (columns, row) => ({
    n: columns.n[row] as number,
    epoch: columns.epoch[row] as number,
    outcome: columns.outcome[row] as Outcome,
    statusCode: columns.statusCode[row] as number,
    body: columns.body[row] as string,
    promptTokens: columns.promptTokens[row] as number,
    completionTokens: columns.completionTokens[row] as number,
  }),
)

export const submitterMessageSchema: ZodType<SubmitterMessage> = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('open'),
    job: z.string().max(128),
    contextId: z.string().max(128),
    prefix: z.string().max(TASK_PREFIX_UNITS_MAX).optional(),
    leaseSize: leaseSize.optional(),
  }),
  z.strictObject({
    type: z.literal('requests'),
    requests: sentRequests,
    lease: leaseSize.optional(),
  }),
  z.strictObject({ type: z.literal('acknowledge'), results: leaseKeys }),
  z.strictObject({ type: z.literal('cancel'), requests: leaseKeys }),
  z.strictObject({ type: z.literal('alive') }),
])

export const workerMessageSchema: ZodType<WorkerMessage> = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('status'),
    phase: z.enum(['queued', 'fetching', 'loading', 'ready', 'refused']),
    reason: z.string().max(64).optional(),
    detail: z.string().max(1024).optional(),
  }),
  z.strictObject({ type: z.literal('credit'), requests: credit }),
  z.strictObject({
    type: z.literal('results'),
    results: taskResults,
    credit: credit.optional(),
  }),
  z.strictObject({ type: z.literal('returned'), requests: leaseKeys }),
  z.strictObject({ type: z.literal('alive') }),
])

/** A message in the form in which it travels: its lists by column. */
export function wireForm(message: SubmitterMessage | WorkerMessage): object {
  switch (message.type) {
    case 'requests':
      return { ...message, requests: requestColumns(message.requests) }
    case 'results':
      return { ...message, results: resultColumns(message.results) }
    case 'acknowledge':
      return { ...message, results: keyColumns(message.results) }
    case 'cancel':
    case 'returned':
      return { ...message, requests: keyColumns(message.requests) }
    default:
      return message
  }
}

function keyColumns(keys: readonly LeaseKey[]): Columns<LeaseKey> {
  return { n: keys.map((key) => key.n), epoch: keys.map((key) => key.epoch) }
}

function requestColumns(requests: readonly SentRequest[]): Columns<SentRequest> {
  return {
    ...keyColumns(requests),
    url: requests.map(({ url }) => url),
    body: requests.map(({ body }) => body),
    isPrefixed: requests.map(({ isPrefixed }) => isPrefixed),
  }
}

function resultColumns(results: readonly TaskResult[]): Columns<TaskResult> {
  return {
    ...keyColumns(results),
    outcome: results.map(({ outcome }) => outcome),
    statusCode: results.map(({ statusCode }) => statusCode),
    body: results.map(({ body }) => body),
    promptTokens: results.map(({ promptTokens }) => promptTokens),
    completionTokens: results.map(({ completionTokens }) => completionTokens),
  }
}

/** Largest overhead of one entry of a message beside its texts, bytes. */
const ENTRY_BYTES = 128

/**
 * Cuts entries into groups that each fit in one frame, by count and by bytes; order is kept.
 * An entry too large for a frame of its own gets one: sending it fails with `frame-too-large`.
 */
export function frames<T extends { body: string }>(entries: readonly T[], frameBytesMax: number): T[][] {
  const groups: T[][] = []
  let group: T[] = []
  let groupBytes = 0
  for (const entry of entries) {
    const bytes = ENTRY_BYTES + Buffer.byteLength(entry.body)
    if (group.length > 0 && (group.length >= REQUESTS_PER_FRAME_MAX || groupBytes + bytes > frameBytesMax)) {
      groups.push(group)
      group = []
      groupBytes = 0
    }
    group.push(entry)
    groupBytes += bytes
  }
  if (group.length > 0) groups.push(group)
  return groups
}
