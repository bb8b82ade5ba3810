// The state of core/upload-budget.ts: who waits for a chunk, who is being sent one, and how much may be sent.
import { CHUNK_BYTES } from '../../../base/limits.ts'

export type UploadClass = 'drain' | 'urgent' | 'normal' | 'background'

/** Bytes of one class for each byte of another, while both wait. */
export const UPLOAD_WEIGHTS: Readonly<Record<UploadClass, number>> = Object.freeze({
  drain: 8,
  urgent: 4,
  normal: 2,
  background: 1,
})
/** Part of the cap that spare copies may take, also when nobody else wants it. */
export const REPLICATION_SHARE = 0.25
/** A bucket holds one chunk, and what its rate gives in this time: a timer may be so late. */
export const BURST_MS = 100

export interface Bucket {
  rateBytesPerSecond: number
  tokens: number
  filledAtMs: number
}

export interface Ask {
  id: number
  uploadClass: UploadClass
  bytes: number
  sinceMs: number
}

export interface Flow {
  peer: string
  /** Waiting, the weightiest class first. */
  asks: Ask[]
  /** Bytes sent by weight, on the scale of `virtualTime`. */
  finish: number
  lastSentMs: number
}

/** A chunk that was granted, and is neither sent nor refunded. */
export interface ActiveChunk {
  peer: string
  bytes: number
  weight: number
}

export interface UploadBudget {
  readonly activeMax: number
  readonly flows: Map<string, Flow>
  /** Being read and sent now, by id. */
  readonly active: Map<number, ActiveChunk>
  /** Undefined while there is no cap. */
  total: Bucket | undefined
  replication: Bucket | undefined
  /** Bytes that may still be sent this month. */
  monthLeftBytes: number
  isMonthSpent: boolean
  virtualTime: number
}

export function newUploadBudget(activeMax: number): UploadBudget {
  return {
    activeMax,
    flows: new Map(),
    active: new Map(),
    total: undefined,
    replication: undefined,
    monthLeftBytes: Infinity,
    isMonthSpent: false,
    virtualTime: 0,
  }
}

/** Tokens that a bucket of this rate holds at most, bytes. */
export function bucketCapacity(rateBytesPerSecond: number): number {
  return CHUNK_BYTES + (rateBytesPerSecond * BURST_MS) / 1000
}
