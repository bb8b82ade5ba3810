import type { CheckVerdict } from '../../runs/result/run-result.ts'
import type { GpuMeter } from './gpu-meter.ts'
import type { Shelf } from './shelf.ts'

const DETAILS_MAX = 3

/** The inputs of the checks. */
interface CheckedPeer {
  readonly id: string
  readonly meter: GpuMeter
  readonly host: { shelf: (context: number) => Shelf | undefined }
  mayRun: (context: number) => boolean
}

interface CheckedJob {
  readonly id: string
  readonly workload: { requests: number }
  readonly hasFinished: boolean
  readonly committedRequests: number
}

/** Invariants of every run, counted separately from the cores that they check. */
export class Checks {
  readonly #broken = new Map<string, string[]>()
  readonly #counts = new Map<string, number>()

  break(check: string, detail: string): void {
    this.#counts.set(check, (this.#counts.get(check) ?? 0) + 1)
    const details = this.#broken.get(check) ?? []
    this.#broken.set(check, details)
    if (details.length < DETAILS_MAX) details.push(detail)
  }

  /** A request begins to run: what it needs must be there. */
  onRun(peer: CheckedPeer, context: number): void {
    if (peer.mayRun(context)) return
    this.break('tiers truthful', `${peer.id} runs context ${context}, which is not there`)
  }

  /** A peer says that it holds a context. */
  onPublish(peer: CheckedPeer, context: number): void {
    if (peer.host.shelf(context)?.isWhole === true) return
    this.break('tiers truthful', `${peer.id} says that it holds context ${context}, and does not`)
  }

  /** A peer takes something on its disk. */
  onStore(peer: string, { usedBytes, quotaBytes }: { usedBytes: number; quotaBytes: number }): void {
    if (usedBytes <= quotaBytes) return
    this.break('quotas', `${peer} has ${usedBytes} bytes on a disk for ${quotaBytes}`)
  }

  verdict(check: string, whenTrue: string): CheckVerdict {
    const details = this.#broken.get(check)
    if (details === undefined) return { check, holds: true, detail: whenTrue }
    return { check, holds: false, detail: `${this.#counts.get(check)} times; ${details.join('; ')}` }
  }
}

/** Every request has its line, and none has two, as counted by the journal of each job. */
export function checkJobs(checks: Checks, jobs: readonly CheckedJob[]): void {
  for (const job of jobs) {
    const { requests } = job.workload
    if (job.hasFinished && job.committedRequests !== requests)
      checks.break('nothing lost', `${job.id} finished with ${job.committedRequests} of ${requests} requests`)
  }
}

/** The GPU times must add up in two separate accounts. */
export function checkGpuSeconds(checks: Checks, peers: readonly CheckedPeer[]): void {
  for (const { id, meter } of peers) {
    const { upUs, busyUs, loadUs, transferUs, idleUs, ranUs, usefulUs } = meter
    const slackUs = 1 + upUs * 1e-6
    if (Math.abs(upUs - busyUs - loadUs - transferUs - idleUs) > slackUs)
      checks.break('GPU-seconds add up', `${id}: the parts are not the ${upUs / 1e6} s that it was up`)
    if (Math.abs(busyUs - ranUs) > slackUs)
      checks.break('GPU-seconds add up', `${id}: busy for ${busyUs / 1e6} s, its runs took ${ranUs / 1e6} s`)
    if (usefulUs > ranUs + slackUs) checks.break('GPU-seconds add up', `${id}: more useful than it ran`)
  }
}

/** All sent bytes were received; all received bytes are on a disk, were used by a run, or count as wasted. */
export function checkBytes(
  checks: Checks,
  counts: { sent: number; received: number; counted: number },
): void {
  const { sent, received, counted } = counts
  const slack = 1 + 1e-9 * received
  if (Math.abs(sent - received) > slack)
    checks.break('bytes add up', `${sent} bytes were sent and ${received} received`)
  if (Math.abs(received - counted) > slack)
    checks.break('bytes add up', `${received} bytes came to peers and ${counted} were counted by source`)
}
