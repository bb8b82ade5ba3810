import { resolve } from 'node:path'
import { every } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { TASK_CREDIT_MAX } from '../../base/limits.ts'
import { numberOption } from '../../base/number-option.ts'
import {
  openJob,
  runJob,
  type JobRequest,
  type JobSummary,
  type OpenJob,
  type RunOptions,
} from '../../node/jobs/submit-job.ts'
import type { JobProgress } from '../../tasks/submitter/job-progress.ts'
import type { JournalCounts } from '../../tasks/journal/journal.ts'
import { outputPathOf } from '../../tasks/journal/output-file.ts'
import { askPeer } from '../../api/control-client.ts'
import type { CommandContext, CommonOptions } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { findSwarm, rememberVisit } from '../terminal/find-swarm.ts'
import { readingOf, type ReadingOptions } from '../terminal/reading-options.ts'
import { requireControl } from './status.ts'
import {
  progressBlock,
  progressEvent,
  progressLine,
  reportEveryMs,
  type ProgressView,
} from '../terminal/progress.ts'
import { formatCount, formatDuration, paint, shortPeer } from '../terminal/terminal.ts'

export interface SubmitCommandOptions extends CommonOptions, ReadingOptions {
  context: string
  output: string
  bootstrap: string[]
  swarm?: string
  wait: string
  leaseSize?: string
  detach?: boolean
  force?: boolean
}

/** `hearth submit FILE`: runs a job file on the swarm and writes its output file. */
export async function submitCommand(
  file: string,
  options: SubmitCommandOptions,
  context: CommandContext,
): Promise<number> {
  const request: JobRequest = {
    inputPath: resolve(file),
    outputPath: outputPathOf(options.output),
    context: options.context,
    reading: readingOf(file, options),
    isDetached: options.detach === true,
    isForced: options.force === true,
  }
  if (request.isDetached && options.output === '-')
    throw new HearthError(
      'usage',
      '--detach cannot print results, because the command exits at once. Name an output file with -o FILE',
    )
  const leaseSize = leaseSizeOf(options)
  if (request.isDetached) return await handOver(request, context)
  const run = { ...(await whereToRun(options, context)), leaseSize }
  const job = await openJob(context, context.data, request)
  return await carryOut(job, run, context)
}

/** Runs an open job in this process, prints its progress, and closes it. */
export async function carryOut(job: OpenJob, run: RunOptions, context: CommandContext): Promise<number> {
  const progress = new ProgressPrinter(context)
  try {
    progress.begin(job)
    const summary = await runJob(context, job, run, (running) => progress.follow(running))
    progress.stop()
    printSummary(summary, context)
    return summary.counts.failed > 0 ? EXIT.failedLines : EXIT.ok
  } catch (error) {
    progress.stop()
    if (context.signal.aborted) {
      context.terminal.note(`Stopped. Run the same command again to resume${progress.committedWords()}`)
    }
    throw error
  } finally {
    job.journal.close()
  }
}

/** `--detach`: hands the job to the running peer; returns once the peer has journaled it. */
async function handOver(
  { isDetached: _isDetached, ...request }: JobRequest,
  context: CommandContext,
): Promise<number> {
  const { data, terminal, signal } = context
  const access = requireControl(data.control())
  const taken = await askPeer<{ jobId: string; counts: JournalCounts; isResumed: boolean }>(
    access,
    '/v0/jobs',
    request,
    signal,
  )
  const { jobId, counts } = taken
  terminal.event({
    event: 'job',
    jobId,
    resumed: taken.isResumed,
    requests: counts.requests,
    committed: counts.committed,
  })
  if (!terminal.isJson) terminal.print(jobId)
  terminal.note(
    `Handed to the local peer: ${formatCount(counts.requests)} requests. Follow them with "hearth job watch ${jobId.slice(0, 8)}"`,
  )
  return EXIT.ok
}

/** Where the swarm is and how long to wait for it, from the options of a command. */
export async function whereToRun(
  options: { bootstrap: string[]; swarm?: string; wait: string },
  context: CommandContext,
): Promise<RunOptions> {
  const giveUpMs = 1000 * numberOption('--wait', options.wait, { above: 0, unit: 'seconds' })
  return {
    ...(await findSwarm(options, context)),
    giveUpMs,
    signal: context.signal,
    onVisit: (swarm, peers) => rememberVisit(context.data, swarm, peers),
  }
}

function leaseSizeOf({ leaseSize: text, detach }: SubmitCommandOptions): number | undefined {
  if (text === undefined) return undefined
  if (detach === true)
    throw new HearthError(
      'usage',
      '--lease-size cannot be combined with --detach, because only a job that runs here supports it. Leave one of them out',
    )
  return numberOption('--lease-size', text, { isWhole: true, least: 1, most: TASK_CREDIT_MAX })
}

/** Prints the progress of a job: a block on a terminal, a line every 5 s in a pipe, events with --json. */
class ProgressPrinter {
  readonly #context: CommandContext
  #cancel: () => void = () => {}
  #read: (() => ProgressView) | undefined
  #committed = 0

  constructor(context: CommandContext) {
    this.#context = context
  }

  begin({ folder, journal, isResumed }: OpenJob): void {
    const { terminal } = this.#context
    const { requests, committed } = journal.counts()
    this.#committed = committed
    terminal.event({ event: 'job', jobId: folder.jobId, resumed: isResumed, requests, committed })
    if (isResumed) terminal.note(`Resuming: ${committed} of ${requests} requests are already committed`)
  }

  follow(running: { progress(): JobProgress; counts(): JournalCounts }): void {
    const { clock, terminal } = this.#context
    this.#read = () => {
      const counts = running.counts()
      this.#committed = counts.committed
      return { counts, progress: running.progress() }
    }
    this.#cancel = every(clock, reportEveryMs(terminal), () => this.#print())
  }

  stop(): void {
    this.#cancel()
    this.#context.terminal.redraw([])
  }

  committedWords(): string {
    return this.#committed === 0 ? '' : ` (${this.#committed} results are saved)`
  }

  #print(): void {
    const view = this.#read?.()
    if (view === undefined) return
    const { terminal } = this.#context
    if (terminal.isJson) terminal.event(progressEvent(view))
    else if (terminal.isInteractive) terminal.redraw(progressBlock(view, process.stderr.columns))
    else terminal.note(progressLine(view))
  }
}

function printSummary(summary: JobSummary, { terminal }: CommandContext): void {
  const { counts, before, resultsByPeer, outputPath, wallMs } = summary
  terminal.event({
    event: 'job-summary',
    jobId: summary.jobId,
    contextId: summary.contextId,
    requests: counts.requests,
    committed: counts.committed,
    failed: counts.failed,
    promptTokens: counts.promptTokens,
    completionTokens: counts.completionTokens,
    peers: resultsByPeer,
    committedBefore: before.committed,
    completionTokensBefore: before.completionTokens,
    wallMs: Math.round(wallMs),
    output: outputPath,
  })
  const tokens = ((counts.completionTokens - before.completionTokens) * 1000) / Math.max(1, wallMs)
  const here =
    before.committed === 0 ? 'requests' : `requests, ${counts.committed - before.committed} of them now,`
  terminal.note(
    `${paint('green', 'done')} ${counts.committed} of ${counts.requests} ${here} in ${formatDuration(wallMs)}, ${Math.round(tokens)} tokens/s`,
  )
  for (const { peer, results } of resultsByPeer) {
    terminal.note(`  ${peer === '' ? 'given up' : shortPeer(peer)}  ${results}`)
  }
  const { resultsForgotten, requestsLost } = summary.mended
  if (resultsForgotten + requestsLost > 0)
    terminal.note(
      `The journal was damaged on disk: ${resultsForgotten} results were computed again, and ${requestsLost} lines could not be run. Check the disk`,
    )
  if (counts.failed > 0)
    terminal.note(paint('red', `${counts.failed} requests failed; each of their output lines has the error`))
  terminal.note(`results: ${outputPath}`)
}
