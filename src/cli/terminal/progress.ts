import type { JobProgress } from '../../tasks/submitter/job-progress.ts'
import type { JournalCounts } from '../../tasks/journal/journal.ts'
import { columns, formatDuration, paint, shortPeer, type Terminal } from './terminal.ts'

const REDRAW_MS = 200
const JSON_EVERY_MS = 250
const PIPE_EVERY_MS = 5_000

/** The interval between progress reports, ms: a block on a terminal, a line in a pipe, events with --json. */
export function reportEveryMs({ isJson, isInteractive }: Terminal): number {
  return isJson ? JSON_EVERY_MS : isInteractive ? REDRAW_MS : PIPE_EVERY_MS
}

/** The progress of a job and the counts of its journal at one moment. */
export interface ProgressView {
  counts: JournalCounts
  progress: JobProgress
}

/** The NDJSON form of a progress view. */
export function progressEvent({
  counts,
  progress,
}: ProgressView): { event: string } & Record<string, unknown> {
  return {
    event: 'progress',
    requests: counts.requests,
    committed: counts.committed,
    failed: counts.failed,
    tokensPerSecond: Math.round(progress.tokensPerSecond ?? 0),
    elapsedMs: Math.round(progress.elapsedMs),
    leftMs: progress.leftMs === undefined ? null : Math.round(progress.leftMs),
    peers: progress.peers,
    waiting: progress.waiting ?? null,
  }
}

/** One line, for a pipe. */
export function progressLine(view: ProgressView): string {
  const { counts, progress } = view
  const percent = Math.floor((100 * counts.committed) / Math.max(1, counts.requests))
  const parts = [
    `${counts.committed}/${counts.requests} (${percent} %)`,
    `${counts.failed} failed`,
    ...rateOf(progress),
    phasesOf(progress),
  ]
  if (progress.leftMs !== undefined) parts.push(`${formatDuration(progress.leftMs)} left`)
  if (progress.waiting !== undefined) parts.push(`waiting: ${progress.waiting.words}`)
  return parts.join(', ')
}

/** A block of lines for a terminal, redrawn in place. */
export function progressBlock(view: ProgressView, width: number): string[] {
  const { counts, progress } = view
  const share = counts.committed / Math.max(1, counts.requests)
  const left = progress.leftMs === undefined ? '' : `, ${formatDuration(progress.leftMs)} left`
  const failed = counts.failed === 0 ? '' : paint('red', `, ${counts.failed} failed`)
  const head = `${progressBar(share, Math.min(40, width - 50))} ${counts.committed}/${counts.requests}${failed}  ${rateOf(progress).join('')}${left}`
  const peers = progress.peers.map((peer) => [
    `  ${shortPeer(peer.peer)}`,
    peer.phase === 'known'
      ? (peer.reason ?? 'not used')
      : `${peer.phase}${peer.detail === undefined ? '' : ` ${peer.detail}`}`,
    `${peer.outstanding} sent`,
    `${peer.results} done`,
  ])
  const waiting =
    progress.waiting === undefined ? [] : [paint('yellow', `waiting: ${progress.waiting.words}`)]
  return [head, ...columns(peers).slice(0, 12), ...waiting]
}

function rateOf({ tokensPerSecond }: JobProgress): string[] {
  return tokensPerSecond === undefined ? [] : [`${Math.round(tokensPerSecond)} tokens/s`]
}

/** @param share in [0, 1] */
export function progressBar(share: number, width: number): string {
  const filled = Math.round(share * Math.max(10, width))
  return paint('green', '█'.repeat(filled)) + '░'.repeat(Math.max(10, width) - filled)
}

/** "3 ready, 1 fetching": how many peers report each phase. */
function phasesOf(progress: JobProgress): string {
  const counts = new Map<string, number>()
  for (const { phase } of progress.peers)
    if (phase !== 'known') counts.set(phase, (counts.get(phase) ?? 0) + 1)
  if (counts.size === 0) return 'no peer is working'
  return [...counts].map(([phase, count]) => `${count} ${phase}`).join(', ')
}
