import { invariant } from '../../../base/invariants.ts'
import { REPLICATION_SHARE, UPLOAD_WEIGHTS, type UploadBudget, bucketCapacity } from './upload-state.ts'

/** Room for rounding in sums of floating-point tokens, bytes. */
const ROUNDING_BYTES = 1e-3

/** Throws `internal` when an invariant of the upload budget does not hold between two steps. */
export function checkUpload(budget: UploadBudget): void {
  checkAsks(budget)
  checkActive(budget)
  checkBuckets(budget)
  checkNobodyWaitsInVain(budget)
}

function checkAsks({ flows, active, isMonthSpent }: UploadBudget): void {
  const waiting = new Set<number>()
  for (const [peer, flow] of flows) {
    invariant(flow.peer === peer, 'a flow is filed under its peer', { peer, filed: flow.peer })
    invariant(Number.isFinite(flow.finish), "a flow's finish is a number", { peer, finish: flow.finish })
    invariant(!isMonthSpent || flow.asks.length === 0, 'nobody waits once the month is spent', {
      peer,
      asks: flow.asks.length,
    })
    let before = Infinity
    for (const { id, uploadClass, bytes } of flow.asks) {
      const weight = UPLOAD_WEIGHTS[uploadClass]
      invariant(weight <= before, 'the weightiest class of a peer waits first', { peer, id, uploadClass })
      invariant(bytes > 0, 'an ask is for bytes', { peer, id, bytes })
      invariant(!waiting.has(id) && !active.has(id), 'an id stands for one ask', { peer, id })
      before = weight
      waiting.add(id)
    }
  }
}

function checkActive({ flows, active, activeMax }: UploadBudget): void {
  invariant(active.size <= activeMax, 'no more chunks are sent at once than there are slots', {
    active: active.size,
    activeMax,
  })
  for (const [id, { peer }] of active) {
    invariant(flows.has(peer), 'a peer that is being sent a chunk is remembered', { peer, id })
  }
}

function checkBuckets(budget: UploadBudget): void {
  const { total, replication } = budget
  invariant((total === undefined) === (replication === undefined), 'both buckets are capped, or neither', {
    total: total?.rateBytesPerSecond,
    replication: replication?.rateBytesPerSecond,
  })
  if (total !== undefined && replication !== undefined) {
    invariant(
      replication.rateBytesPerSecond === total.rateBytesPerSecond * REPLICATION_SHARE,
      'spare copies have their share of the cap',
      { total: total.rateBytesPerSecond, replication: replication.rateBytesPerSecond },
    )
  }
  for (const name of ['total', 'replication'] as const) {
    const bucket = budget[name]
    if (bucket === undefined) continue
    const capacity = bucketCapacity(bucket.rateBytesPerSecond)
    invariant(bucket.tokens <= capacity + ROUNDING_BYTES, 'a bucket holds no more than its capacity', {
      name,
      tokens: bucket.tokens,
      capacity,
    })
  }
  invariant(!Number.isNaN(budget.monthLeftBytes), 'what is left of the month is a number')
}

/** With a slot free and nothing that limits it, a chunk is sent at once. */
function checkNobodyWaitsInVain({ flows, active, activeMax, total, monthLeftBytes }: UploadBudget): void {
  if (active.size >= activeMax || total !== undefined || monthLeftBytes !== Infinity) return
  for (const { peer, asks } of flows.values()) {
    invariant(asks.length === 0, 'nobody waits while slots are free and nothing is capped', {
      peer,
      asks: asks.length,
    })
  }
}
