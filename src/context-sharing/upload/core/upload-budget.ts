import { areStepsChecked, impossible, present } from '../../../base/invariants.ts'
import { checkUpload } from './upload-check.ts'
import {
  type ActiveChunk,
  type Ask,
  type Bucket,
  type Flow,
  REPLICATION_SHARE,
  UPLOAD_WEIGHTS,
  type UploadBudget,
  type UploadClass,
  bucketCapacity,
} from './upload-state.ts'

export { BURST_MS, REPLICATION_SHARE, UPLOAD_WEIGHTS, newUploadBudget } from './upload-state.ts'
export type { UploadBudget, UploadClass } from './upload-state.ts'

/*
 * Decides whose chunk is sent next, and when. All uploads draw on one token bucket, the upload cap; spare
 * copies draw on a bucket of their own beside it. Among the peers that wait it is start-time fair
 * queueing over bytes: a peer that had less, by its weight, comes first, so each has its share however
 * many streams it opens, and one that was turned away has its turn at once when it comes back. Deficit
 * round robin gives the same shares, but forgets who was turned away.
 *
 * Priority is self-declared: it only weights the queue. A peer that calls everything urgent gets twice a
 * normal peer's share, no more. `drain` is not self-declared: this peer is shutting down, and the
 * other takes over what it has.
 */

/** A chunk that waits longer than this is refused, and its peer is sent to other holders, ms. */
export const BUSY_AFTER_MS = 4000
/** When a refused peer may come again, ms: soon for one that waited, rarely when the month is spent. */
const RETRY_MS = 1000
const MONTH_RETRY_MS = 60_000
/** How long a peer that asks for nothing is remembered, ms. */
const IDLE_MS_MAX = 60_000

export type UploadEvent =
  /** A peer waits for `bytes`, one chunk; `id` is new. */
  | { kind: 'ask'; id: number; peer: string; uploadClass: UploadClass; bytes: number }
  /** It does not wait any more. */
  | { kind: 'withdraw'; id: number }
  /** The granted chunk is sent, or failed. */
  | { kind: 'done'; id: number }
  /** The granted chunk became unwanted, and nothing was sent. */
  | { kind: 'refund'; id: number }
  /** Bytes that were sent without asking: a manifest. */
  | { kind: 'charge'; bytes: number }
  /** The cap in bytes per second; undefined: none. */
  | { kind: 'cap'; bytesPerSecond: number | undefined }
  /** Bytes that may still be sent this month, as far as it is written down; whether it is all of it. */
  | { kind: 'month'; leftBytes: number; isSpent: boolean }
  | { kind: 'tick' }

export type UploadEffect =
  | { kind: 'grant'; id: number }
  /** Not now: the peer is to ask elsewhere, and may come back after `retryMs`. */
  | { kind: 'refuse'; id: number; retryMs: number; reason: 'waited' | 'month' }
  /** A `tick` is wanted then. */
  | { kind: 'wake'; afterMs: number }

/** Takes one event and returns its effects. At most 64 peers have sessions, so they are scanned. */
export function stepUpload(budget: UploadBudget, event: UploadEvent, nowMs: number): UploadEffect[] {
  fill(budget.total, nowMs)
  fill(budget.replication, nowMs)
  apply(budget, event, nowMs)
  const effects: UploadEffect[] = []
  refuse(budget, nowMs, effects)
  const next = grant(budget, nowMs, effects)
  wake(budget, next, nowMs, effects)
  forgetIdle(budget, nowMs)
  if (areStepsChecked()) checkUpload(budget)
  return effects
}

function apply(budget: UploadBudget, event: UploadEvent, nowMs: number): void {
  switch (event.kind) {
    case 'ask':
      return addAsk(budget, event, nowMs)
    case 'withdraw':
      return withdraw(budget, event.id)
    case 'done':
      return void endActive(budget, event.id)
    case 'refund':
      return refund(budget, event.id)
    case 'charge':
      return spend(budget, 'normal', event.bytes)
    case 'cap':
      budget.total = newBucket(budget.total, event.bytesPerSecond, nowMs)
      budget.replication = newBucket(budget.replication, scaled(event.bytesPerSecond), nowMs)
      return
    case 'month':
      budget.monthLeftBytes = event.leftBytes
      budget.isMonthSpent = event.isSpent
      return
    case 'tick':
      return
  }
}

function addAsk(
  budget: UploadBudget,
  { id, peer, uploadClass, bytes }: Extract<UploadEvent, { kind: 'ask' }>,
  nowMs: number,
): void {
  const flow = budget.flows.get(peer) ?? { peer, asks: [], finish: 0, lastSentMs: -Infinity }
  budget.flows.set(peer, flow)
  flow.asks.push({ id, uploadClass, bytes, sinceMs: nowMs })
  flow.asks.sort(
    (left, right) =>
      UPLOAD_WEIGHTS[right.uploadClass] - UPLOAD_WEIGHTS[left.uploadClass] || left.id - right.id,
  )
}

function refund(budget: UploadBudget, id: number): void {
  const { peer, bytes, weight } = endActive(budget, id)
  const flow = present(budget.flows.get(peer), 'a peer that was granted a chunk is remembered', { peer, id })
  flow.finish -= bytes / weight
  spend(budget, weight === UPLOAD_WEIGHTS.background ? 'background' : 'normal', -bytes)
  // The buckets filled up meanwhile: what comes back on top of that would be a burst.
  for (const bucket of [budget.total, budget.replication]) if (bucket !== undefined) skim(bucket)
}

function endActive(budget: UploadBudget, id: number): ActiveChunk {
  const granted = present(budget.active.get(id), 'only a granted chunk ends, and once', { id })
  budget.active.delete(id)
  return granted
}

function withdraw(budget: UploadBudget, id: number): void {
  for (const flow of budget.flows.values()) {
    const place = flow.asks.findIndex((ask) => ask.id === id)
    if (place >= 0) return void flow.asks.splice(place, 1)
  }
  throw impossible('only a waiting chunk is withdrawn', { id })
}

/** The next peer is never refused: under a small cap, one chunk can take longer than the longest wait. */
function refuse(budget: UploadBudget, nowMs: number, effects: UploadEffect[]): void {
  const next = [leastServed(budget, () => true)?.ask, leastServed(budget, isNoSpare)?.ask]
  for (const flow of budget.flows.values()) {
    const isOver = (ask: Ask): boolean =>
      budget.isMonthSpent || (nowMs - ask.sinceMs >= BUSY_AFTER_MS && !next.includes(ask))
    for (const { id } of flow.asks.filter(isOver)) {
      effects.push(
        budget.isMonthSpent
          ? { kind: 'refuse', id, retryMs: MONTH_RETRY_MS, reason: 'month' }
          : { kind: 'refuse', id, retryMs: RETRY_MS, reason: 'waited' },
      )
    }
    flow.asks = flow.asks.filter((ask) => !isOver(ask))
  }
}

/** Grants while there are slots and tokens; returns the one that waits for tokens now. */
function grant(budget: UploadBudget, nowMs: number, effects: UploadEffect[]): Ask | undefined {
  while (budget.active.size < budget.activeMax) {
    const next = choose(budget)
    if (next === undefined) return undefined
    const { flow, ask } = next
    // The chosen one is waited for, so that small chunks do not overtake large ones for ever.
    if (msUntil(budget.total, ask.bytes) > 0 || ask.bytes > budget.monthLeftBytes) return ask
    const start = Math.max(flow.finish, budget.virtualTime)
    const weight = UPLOAD_WEIGHTS[ask.uploadClass]
    budget.virtualTime = start
    flow.finish = start + ask.bytes / weight
    flow.lastSentMs = nowMs
    flow.asks = flow.asks.filter((other) => other !== ask)
    budget.active.set(ask.id, { peer: flow.peer, bytes: ask.bytes, weight })
    spend(budget, ask.uploadClass, ask.bytes)
    effects.push({ kind: 'grant', id: ask.id })
  }
  return undefined
}

interface Choice {
  flow: Flow
  ask: Ask
  start: number
}

/**
 * The flow with the least service by weight; among equals, the one with the oldest last chunk. When that is a
 * spare copy that has to wait for its bucket, all spare copies wait, so that none overtakes another.
 */
function choose(budget: UploadBudget): Choice | undefined {
  const best = leastServed(budget, () => true)
  if (best?.ask.uploadClass !== 'background' || msUntil(budget.replication, best.ask.bytes) === 0) return best
  return leastServed(budget, isNoSpare)
}

function isNoSpare({ uploadClass }: Ask): boolean {
  return uploadClass !== 'background'
}

function leastServed(budget: UploadBudget, isMeant: (ask: Ask) => boolean): Choice | undefined {
  let best: Choice | undefined
  for (const flow of budget.flows.values()) {
    const ask = flow.asks.find(isMeant)
    if (ask === undefined) continue
    const choice = { flow, ask, start: Math.max(flow.finish, budget.virtualTime) }
    if (best === undefined || comesBefore(choice, best)) best = choice
  }
  return best
}

function comesBefore(left: Choice, right: Choice): boolean {
  if (left.start !== right.start) return left.start < right.start
  if (left.flow.lastSentMs !== right.flow.lastSentMs) return left.flow.lastSentMs < right.flow.lastSentMs
  return left.ask.id < right.ask.id
}

function wake(budget: UploadBudget, next: Ask | undefined, nowMs: number, effects: UploadEffect[]): void {
  const asks = [...budget.flows.values()].flatMap((flow) => flow.asks)
  if (asks.length === 0) return
  const waits = asks.map(({ sinceMs }) => sinceMs + BUSY_AFTER_MS - nowMs)
  if (next !== undefined) waits.push(msUntil(budget.total, next.bytes))
  if (budget.active.size < budget.activeMax) {
    const spare = asks.filter(({ uploadClass }) => uploadClass === 'background')
    for (const { bytes } of spare) waits.push(msUntil(budget.replication, bytes))
  }
  // A wait of 0 is one for a slot, a longer class or the month: their own events end it.
  const afterMs = Math.min(...waits.filter((ms) => ms > 0))
  if (Number.isFinite(afterMs)) effects.push({ kind: 'wake', afterMs: Math.ceil(afterMs) })
}

function forgetIdle(budget: UploadBudget, nowMs: number): void {
  const busy = new Set([...budget.active.values()].map(({ peer }) => peer))
  for (const [peer, flow] of budget.flows) {
    if (flow.asks.length > 0 || busy.has(peer)) continue
    if (nowMs - flow.lastSentMs > IDLE_MS_MAX) budget.flows.delete(peer)
  }
}

function spend(budget: UploadBudget, uploadClass: UploadClass, bytes: number): void {
  if (budget.total !== undefined) budget.total.tokens -= bytes
  if (uploadClass === 'background' && budget.replication !== undefined) budget.replication.tokens -= bytes
  budget.monthLeftBytes -= bytes
}

function scaled(bytesPerSecond: number | undefined): number | undefined {
  return bytesPerSecond === undefined ? undefined : bytesPerSecond * REPLICATION_SHARE
}

/** A new bucket keeps the old one's level, so that a new cap gives no burst. */
function newBucket(
  old: Bucket | undefined,
  rateBytesPerSecond: number | undefined,
  nowMs: number,
): Bucket | undefined {
  if (rateBytesPerSecond === undefined) return undefined
  const tokens = Math.min(old?.tokens ?? Infinity, bucketCapacity(rateBytesPerSecond))
  return { rateBytesPerSecond, tokens, filledAtMs: nowMs }
}

function fill(bucket: Bucket | undefined, nowMs: number): void {
  if (bucket === undefined) return
  const gained = (bucket.rateBytesPerSecond * (nowMs - bucket.filledAtMs)) / 1000
  bucket.tokens += gained
  skim(bucket)
  bucket.filledAtMs = nowMs
}

function skim(bucket: Bucket): void {
  bucket.tokens = Math.min(bucketCapacity(bucket.rateBytesPerSecond), bucket.tokens)
}

/** Until the bucket has `bytes`, ms; 0 when it has, or when there is none. */
function msUntil(bucket: Bucket | undefined, bytes: number): number {
  if (bucket === undefined || bucket.tokens >= bytes) return 0
  return ((bytes - bucket.tokens) * 1000) / bucket.rateBytesPerSecond
}
