// What an advert says of a peer, and when a new one says nothing new.
import type { ReadyFacts } from './ready-cost.ts'

/** A peer that might run the job, as its advert says. */
export interface Candidate extends ReadyFacts {
  peer: string
  accepts: boolean
  /** The peer itself said so just now: whatever was wrong with the way to it, it is there again. */
  isHere?: boolean | undefined
  /** Why it does not accept, as a code. */
  reason?: string | undefined
  /** Measured on the job's context, all its slots together. */
  tokensPerSecond?: number | undefined
}

/** Most adverts repeat the last one. */
export function saysTheSame(view: Candidate, candidate: Candidate): boolean {
  return (
    view.tier === candidate.tier &&
    view.accepts === candidate.accepts &&
    view.reason === candidate.reason &&
    view.share === candidate.share &&
    view.tokensPerSecond === candidate.tokensPerSecond &&
    weighsTheSame(view, candidate)
  )
}

/** Whether the fields that other peers are compared with are unchanged. */
export function weighsTheSame(view: ReadyFacts, candidate: ReadyFacts): boolean {
  return (
    view.bytes === candidate.bytes &&
    view.loadMs === candidate.loadMs &&
    view.fetchBytesPerSecond === candidate.fetchBytesPerSecond
  )
}

export function saysSomething({ bytes, loadMs, fetchBytesPerSecond }: ReadyFacts): boolean {
  return bytes !== undefined || loadMs !== undefined || fetchBytesPerSecond !== undefined
}
