import { z } from 'zod'
import type { ProtocolName } from '../../base/stream/network.ts'
import { ERROR_CODES, type ErrorCode } from '../../base/errors.ts'
import { JOB_PART_BYTES_MAX, JOBS_TOLD_MAX, RESULT_PAGE_BYTES_MAX } from '../../base/limits.ts'
import type { CancelledJob, JobDetail, JobView } from '../jobs/job-view.ts'
import type { ResultPage } from './result-pages.ts'

/** docs/protocol/job.md: one question and one answer per stream, after both ends have proved their owner. */
export const JOB_PROTOCOL: ProtocolName = 'job/1'

export const NONCE_BYTES = 32
const SIGNATURE_BYTES = 64
/** An Ed25519 key in libp2p's form has 68. */
const IDENTITY_BYTES_MAX = 256
const TEXT_MAX = 4096
export const JOB_PEERS_TOLD_MAX = 256

export interface Proof {
  type: 'proof'
  signature: Uint8Array
}

const bytesSchema = (length: number): z.ZodType<Uint8Array> =>
  z.instanceof(Uint8Array).refine(({ byteLength }) => byteLength === length, `not ${length} bytes`)

export const helloSchema: z.ZodType<{ type: 'hello'; nonce: Uint8Array }> = z.strictObject({
  type: z.literal('hello'),
  nonce: bytesSchema(NONCE_BYTES),
})
export const challengeSchema: z.ZodType<{ type: 'challenge'; nonce: Uint8Array }> = z.strictObject({
  type: z.literal('challenge'),
  nonce: bytesSchema(NONCE_BYTES),
})
const proof = z.strictObject({ type: z.literal('proof'), signature: bytesSchema(SIGNATURE_BYTES) })
export const proofSchema: z.ZodType<Proof> = proof
/** A server's answer to a proof: its own proof, or the one refusal. */
export const provenSchema: z.ZodType<Proof | { type: 'refused' }> = z.discriminatedUnion('type', [
  proof,
  z.strictObject({ type: z.literal('refused') }),
])

/** Questions of the machine that moves a job to the one that gets it: core/job-place. `job` is a whole id. */
export type TransferQuestion =
  | { type: 'offer' | 'release'; job: string; transfer: number }
  | { type: 'part'; job: string; transfer: number; at: number; bytes: Uint8Array }
  /** The whole journal, and the key with which the job submits: workers keep results for it. */
  | { type: 'take'; job: string; transfer: number; bytes: number; sha256: string; identity: Uint8Array }

/** A question of an owner about jobs at one peer. */
export type JobQuestion =
  | TransferQuestion
  | { type: 'list' }
  | { type: 'show'; job: string }
  | { type: 'cancel'; job: string }
  | { type: 'remove'; job: string; isForced: boolean }
  /** The part of the output file that begins at a byte. */
  | { type: 'results'; job: string; at: number }

const idStart = z.string().regex(/^[0-9a-f]{1,32}$/)

const upTo = (bytesMax: number): z.ZodType<Uint8Array> =>
  z.instanceof(Uint8Array).refine(({ byteLength }) => byteLength <= bytesMax, 'too long')
const transferFields = { job: z.string().regex(/^[0-9a-f]{32}$/), transfer: z.int().min(0) }
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)

export const jobQuestionSchema: z.ZodType<JobQuestion> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.enum(['offer', 'release']), ...transferFields }),
  z.strictObject({
    type: z.literal('part'),
    ...transferFields,
    at: z.int().min(0),
    bytes: upTo(JOB_PART_BYTES_MAX),
  }),
  z.strictObject({
    type: z.literal('take'),
    ...transferFields,
    bytes: z.int().min(0),
    sha256,
    identity: upTo(IDENTITY_BYTES_MAX),
  }),
  z.strictObject({ type: z.literal('list') }),
  z.strictObject({ type: z.literal('show'), job: idStart }),
  z.strictObject({ type: z.literal('cancel'), job: idStart }),
  z.strictObject({ type: z.literal('remove'), job: idStart, isForced: z.boolean() }),
  z.strictObject({ type: z.literal('results'), job: idStart, at: z.int().min(0) }),
])

export type JobAnswer =
  /** Newest last; `leftOut` older ones did not fit. */
  | { type: 'jobs'; jobs: JobView[]; leftOut: number }
  | { type: 'job'; job: JobDetail }
  | { type: 'cancelled'; job: CancelledJob }
  | { type: 'removed'; jobId: string }
  /** To a transfer: agreed, and so many bytes of the journal are here. */
  | { type: 'held'; bytes: number }
  | { type: 'page'; page: ResultPage }
  | { type: 'failed'; code: ErrorCode; message: string }

/** An answer that is no failure. */
export type GivenAnswer = Exclude<JobAnswer, { type: 'failed' }>

const text = z.string().max(TEXT_MAX)
const count = z.int().min(0)
const amount = z.number().min(0)
const refusal = z.object({ code: text, words: text })

const progress = z.object({
  settled: count,
  unsettled: count,
  elapsedMs: amount,
  leftMs: amount.optional(),
  tokensPerSecond: amount.optional(),
  peers: z
    .array(
      z.object({
        peer: text,
        phase: text,
        detail: text.optional(),
        reason: text.optional(),
        outstanding: count,
        results: count,
      }),
    )
    .max(JOB_PEERS_TOLD_MAX),
  stale: count,
  waiting: refusal.optional(),
})

const view = z.object({
  job: z.object({
    jobId: text,
    context: text,
    contextId: text,
    inputPath: text,
    inputSha256: text,
    outputPath: text,
    createdAtMs: amount,
    isDetached: z.boolean(),
  }),
  state: z.enum(['running', 'stopped', 'done', 'cancelled', 'moved', 'arriving']),
  counts: z.object({
    requests: count,
    committed: count,
    failed: count,
    promptTokens: amount,
    completionTokens: amount,
  }),
  progress: progress.optional(),
  waiting: refusal.optional(),
})

const detail = view.extend({
  stopped: refusal.optional(),
  errors: z.array(z.object({ code: text, message: text, lines: count, exampleLine: count })).max(16),
  resultsByPeer: z.array(z.object({ peer: text, results: count })).max(JOB_PEERS_TOLD_MAX),
  eventsPath: text,
})

const page = z.object({
  bytes: z.instanceof(Uint8Array).refine(({ byteLength }) => byteLength <= RESULT_PAGE_BYTES_MAX, 'too long'),
  end: z.object({ bytes: count, sha256: z.string().length(64) }).optional(),
})
const cancelled = z.object({ jobId: text, requests: count, committed: count, outputPath: text })

/** Fields that a newer version adds are dropped: owners need not update all machines at once. */
export const jobAnswerSchema: z.ZodType<JobAnswer> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('jobs'), jobs: z.array(view).max(JOBS_TOLD_MAX), leftOut: count }),
  z.object({ type: z.literal('job'), job: detail }),
  z.object({ type: z.literal('cancelled'), job: cancelled }),
  z.object({ type: z.literal('removed'), jobId: text }),
  z.object({ type: z.literal('held'), bytes: count }),
  z.object({ type: z.literal('page'), page }),
  z.object({
    type: z.literal('failed'),
    code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]).catch('internal'),
    message: text,
  }),
]) as z.ZodType<JobAnswer>

/** An answer as it travels: texts and lists cut to what the other end takes, and no field undefined. */
export function toWire(answer: JobAnswer): object {
  if (answer.type === 'page') {
    const { bytes, end } = answer.page
    return { type: 'page', page: end === undefined ? { bytes } : { bytes, end } }
  }
  return JSON.parse(JSON.stringify(answer), (_key, value: unknown) =>
    typeof value === 'string' ? value.slice(0, TEXT_MAX) : value,
  ) as object
}

/** An answer as JSON, for the control API: bytes become base64. */
export function answerToJson(answer: GivenAnswer): object {
  if (answer.type !== 'page') return answer
  const { bytes, end } = answer.page
  return { type: 'page', page: { base64: Buffer.from(bytes).toString('base64'), end } }
}

/** The inverse of `answerToJson`. */
export function answerFromJson(json: GivenAnswer | { type: 'page'; page: JsonPage }): GivenAnswer {
  if (json.type !== 'page' || !('base64' in json.page)) return json as GivenAnswer
  const { base64, end } = json.page
  return { type: 'page', page: { bytes: Buffer.from(base64, 'base64'), end } }
}

interface JsonPage {
  base64: string
  end?: ResultPage['end']
}
