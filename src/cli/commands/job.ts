import { open } from 'node:fs/promises'
import { askPeer } from '../../api/control-client.ts'
import { sleep } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import type { RunningJob } from '../../node/jobs/detached-jobs.ts'
import { findJob, listJobs, readJournal, JobFolder, whyStopped } from '../../node/jobs/job-folder.ts'
import type { DataFolder } from '../../node/home/data-folder.ts'
import { isJobRunning, type JobRecord, type JobState } from '../../tasks/journal/journal-database.ts'
import { Journal, type JournalCounts } from '../../tasks/journal/journal.ts'
import { outputLine, outputPathOf, writeOutputFile } from '../../tasks/journal/output-file.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { progressLine } from '../terminal/progress.ts'
import { carryOut, whereToRun } from './submit.ts'
import { columns, paint } from '../terminal/terminal.ts'

/** A job as `job ls` and `job show` print it. */
interface JobView {
  job: JobRecord
  /** running: by the peer of this machine, or by a submit command. stopped: unfinished, and no process runs it. */
  state: 'running' | 'stopped' | 'done' | 'cancelled'
  counts: JournalCounts
  running: RunningJob | undefined
}

const WATCH_EVERY_MS = 1_000
const COMMON_ERRORS = 3

/** `hearth job ls`: the jobs of this data folder, newest last. */
export async function jobListCommand(context: CommandContext): Promise<number> {
  const { terminal, data } = context
  const running = await runningJobs(context)
  const views = listJobs(data).flatMap((jobId) => {
    try {
      return viewOf(new JobFolder(data, jobId), running) ?? []
    } catch (error) {
      // One damaged job must not hide the others.
      terminal.note(`job ${jobId} cannot be read: ${messageOf(error)}`)
      return []
    }
  })
  views.sort((a, b) => a.job.createdAtMs - b.job.createdAtMs)
  if (terminal.isJson) terminal.print(JSON.stringify(views.map(jobEvent)))
  else if (views.length === 0)
    terminal.print('No jobs. Submit one with "hearth submit FILE --context NAME -o RESULTS"')
  else
    for (const line of columns([['JOB', 'STATE', 'DONE', 'FAILED', 'CONTEXT', 'OUTPUT'], ...views.map(row)]))
      terminal.print(line)
  return EXIT.ok
}

/** `hearth job show ID`: the progress of a job, its peers, its errors, and what it waits for. */
export async function jobShowCommand(id: string, context: CommandContext): Promise<number> {
  const { terminal, data } = context
  const folder = findJob(data, id)
  const view = requireView(folder, await runningJobs(context))
  const journal = readJournal(folder)
  const errors = journal.commonErrors(COMMON_ERRORS)
  const peers = journal.resultsByPeer()
  journal.close()
  const stopped = view.state === 'stopped' ? await whyStopped(folder) : undefined
  if (terminal.isJson) {
    terminal.print(
      JSON.stringify({
        ...jobEvent(view),
        stopped: stopped ?? null,
        errors,
        resultsByPeer: peers,
        events: folder.eventsPath,
      }),
    )
    return EXIT.ok
  }
  const { job, counts, state, running } = view
  terminal.print(`job       ${job.jobId}  ${state}`)
  terminal.print(`input     ${job.inputPath}`)
  terminal.print(`output    ${job.outputPath}`)
  terminal.print(`context   ${job.context}  ${job.contextId}`)
  terminal.print(`done      ${counts.committed} of ${counts.requests}, ${counts.failed} failed`)
  if (running?.waiting !== undefined)
    terminal.print(`waiting   ${running.waiting.words} (${running.waiting.code})`)
  if (state === 'stopped') {
    if (stopped !== undefined) terminal.print(`stopped   ${stoppedWords(stopped)}`)
    terminal.print('resume    run the same "hearth submit" command again')
  }
  for (const { peer, results } of peers)
    terminal.print(`  ${peer === '' ? 'given up' : peer}  ${results} results`)
  for (const { code, message, lines, exampleLine } of errors) {
    terminal.print(`  ${lines} × ${code}: ${message} (for example line ${exampleLine})`)
  }
  return EXIT.ok
}

/** `hearth job watch ID`: progress until the job has ended. */
export async function jobWatchCommand(id: string, context: CommandContext): Promise<number> {
  const { terminal, data, clock, signal } = context
  const folder = findJob(data, id)
  for (;;) {
    const view = requireView(folder, await runningJobs(context))
    terminal.event({ event: 'progress', ...jobEvent(view) })
    const line = lineOf(view)
    if (terminal.isInteractive) terminal.redraw([line])
    else terminal.note(line)
    if (view.state !== 'running') {
      terminal.redraw([])
      terminal.note(line)
      return view.state === 'done' && view.counts.failed > 0 ? EXIT.failedLines : EXIT.ok
    }
    await sleep(clock, WATCH_EVERY_MS, signal)
  }
}

/** `hearth job results ID [-o FILE]`: the lines settled so far, in input order. */
export async function jobResultsCommand(
  id: string,
  options: { output?: string },
  { terminal, data }: CommandContext,
): Promise<number> {
  const folder = findJob(data, id)
  const journal = readJournal(folder)
  try {
    if (options.output !== undefined) {
      await writeOutputFile(outputPathOf(options.output), folder.jobId, journal.lines())
      terminal.note(`${journal.counts().committed} lines: ${outputPathOf(options.output)}`)
    } else {
      const out = await open('/dev/stdout', 'w')
      for (const line of journal.lines()) await out.write(`${outputLine(folder.jobId, line)}\n`)
      await out.close()
    }
    return EXIT.ok
  } finally {
    journal.close()
  }
}

/** `hearth job cancel ID`: stops the job; its unanswered lines become error lines. */
export async function jobCancelCommand(id: string, context: CommandContext): Promise<number> {
  const { terminal, data, clock, signal } = context
  const folder = findJob(data, id)
  await askPeerIfUp(data, (access) => askPeer(access, `/v0/jobs/${folder.jobId}/release`, {}, signal))
  const journal = Journal.open(folder.journalPath) ?? readJournal(folder)
  try {
    const { requests, committed } = journal.counts()
    if (committed < requests) journal.cancel(clock.wallMs())
    await writeOutputFile(journal.job.outputPath, folder.jobId, journal.lines())
    terminal.event({ event: 'job-cancelled', jobId: folder.jobId, requests, committed })
    terminal.note(
      `Cancelled. ${committed} of ${requests} lines have answers; the others are error lines in ${journal.job.outputPath}`,
    )
    return EXIT.ok
  } finally {
    journal.close()
  }
}

export interface JobRetryOptions {
  bootstrap: string[]
  swarm?: string
  wait: string
  detach?: boolean
}

/** `hearth job retry ID`: runs only the failed requests of a job again. */
export async function jobRetryCommand(
  id: string,
  options: JobRetryOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal, data, signal } = context
  const folder = findJob(data, id)
  if (options.detach === true) {
    const access = data.control()
    if (access === undefined)
      throw new HearthError(
        'peer-unreachable',
        'No peer runs on this data folder. Start one with "hearth up"',
      )
    const { requests } = await askPeer<{ requests: number }>(
      access,
      `/v0/jobs/${folder.jobId}/retry`,
      {},
      signal,
    )
    terminal.note(`Handed to the local peer: ${requests} failed requests run again`)
    return EXIT.ok
  }
  const run = await whereToRun(options, context)
  const journal = Journal.open(folder.journalPath)
  if (journal === undefined)
    throw new HearthError(
      'data-corrupt',
      `Job ${folder.jobId} has no journal, because its submission was cut short. Submit it again`,
    )
  const requests = journal.reopenFailed()
  terminal.note(
    requests === 0 ? 'No request of this job failed' : `Running ${requests} failed requests again`,
  )
  return await carryOut({ folder, journal, isResumed: true }, run, context)
}

/** An interrupt has no code of its own, and its words suffice. */
function stoppedWords({ code, words }: { code: string; words: string }): string {
  return code === 'internal' ? words : `${words} (${code})`
}

function requireView(folder: JobFolder, running: Map<string, RunningJob>): JobView {
  const view = viewOf(folder, running)
  if (view !== undefined) return view
  throw new HearthError(
    'data-corrupt',
    `Job ${folder.jobId} has no journal, because its submission was cut short. Submit it again`,
  )
}

function viewOf(folder: JobFolder, running: Map<string, RunningJob>): JobView | undefined {
  const journal = Journal.read(folder.journalPath)
  if (journal === undefined) return undefined
  const counts = journal.counts()
  const here = running.get(folder.jobId)
  const isRunning = here !== undefined || isJobRunning(folder.journalPath)
  const view = { job: journal.job, state: stateOf(journal.state, counts, isRunning), counts, running: here }
  journal.close()
  return view
}

function stateOf(
  state: JobState,
  { committed, requests }: JournalCounts,
  isRunning: boolean,
): JobView['state'] {
  if (state === 'cancelled') return 'cancelled'
  if (committed === requests) return 'done'
  return isRunning ? 'running' : 'stopped'
}

function jobEvent({ job, state, counts, running }: JobView): object {
  return {
    ...job,
    state,
    ...counts,
    waiting: running?.waiting ?? null,
    progress: running?.progress ?? null,
  }
}

function row({ job, state, counts }: JobView): string[] {
  const { jobId, context, outputPath } = job
  return [
    jobId.slice(0, 8),
    state,
    `${counts.committed}/${counts.requests}`,
    String(counts.failed),
    context,
    outputPath,
  ]
}

function lineOf({ state, counts, running }: JobView): string {
  if (running?.progress !== undefined) {
    const { progress } = running
    const tokensPerSecond = (counts.completionTokens * 1000) / Math.max(1, progress.elapsedMs)
    return progressLine({ counts, progress, tokensPerSecond })
  }
  const waiting =
    running?.waiting === undefined ? '' : `, ${paint('yellow', `waiting: ${running.waiting.words}`)}`
  return `${state}: ${counts.committed}/${counts.requests}, ${counts.failed} failed${waiting}`
}

async function runningJobs({ data, signal }: CommandContext): Promise<Map<string, RunningJob>> {
  const jobs = await askPeerIfUp(data, (access) =>
    askPeer<RunningJob[]>(access, '/v0/jobs', undefined, signal),
  )
  return new Map((jobs ?? []).map((job) => [job.jobId, job]))
}

/** The answer of the running peer; undefined when none runs. */
async function askPeerIfUp<T>(
  data: DataFolder,
  ask: (access: { port: number; key: string }) => Promise<T>,
): Promise<T | undefined> {
  const access = data.control()
  if (access === undefined) return undefined
  try {
    return await ask(access)
  } catch (error) {
    if (isHearthError(error, 'peer-unreachable')) return undefined
    throw error
  }
}
