import { sleep } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import { detailJob, viewJob, viewJobs, type JobDetail, type JobView } from '../../node/jobs/job-view.ts'
import { unexpected } from '../../node/owner/job-asker.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { progressLine } from '../terminal/progress.ts'
import { columns, paint, shortPeer, type Terminal } from '../terminal/terminal.ts'
import { atPlace, jobsElsewhere, runningJobs, type JobPlace, type PlaceOptions } from './job-place.ts'

/** A job and the other peer that has it; undefined for one of this data folder. */
interface PlacedView<View extends JobView = JobView> {
  view: View
  peer: string | undefined
}

const WATCH_EVERY_MS = 1_000

/** `hearth job ls`: the jobs of this data folder, then those of the owner's other peers; newest last. */
export async function jobListCommand(context: CommandContext, options: PlaceOptions = {}): Promise<number> {
  const { terminal, data } = context
  const here = viewJobs(data, await runningJobs(context), (jobId, error) =>
    terminal.note(`job ${jobId} cannot be read: ${messageOf(error)}`),
  )
  const elsewhere = await jobsElsewhere(options, context)
  const placed: PlacedView[] =
    options.peer === undefined ? here.map((view) => ({ view, peer: undefined })) : []
  for (const { peer, jobs } of elsewhere ?? []) placed.push(...jobs.map((view) => ({ view, peer })))
  if (terminal.isJson) terminal.print(JSON.stringify(placed.map(jobEvent)))
  else printList(placed, elsewhere !== undefined, terminal)
  for (const { peer, leftOut } of elsewhere ?? [])
    if (leftOut > 0) terminal.note(`${leftOut} older jobs at ${shortPeer(peer)} are not listed`)
  return EXIT.ok
}

function printList(placed: readonly PlacedView[], hasElsewhere: boolean, terminal: Terminal): void {
  if (placed.length === 0)
    return terminal.print('No jobs. Submit one with "hearth submit FILE --context NAME -o RESULTS"')
  const head = ['JOB', 'STATE', 'DONE', 'FAILED', 'CONTEXT', 'OUTPUT']
  const rows = [hasElsewhere ? [...head, 'PEER'] : head]
  for (const { view, peer } of placed)
    rows.push(hasElsewhere ? [...row(view), peer === undefined ? 'here' : shortPeer(peer)] : row(view))
  for (const line of columns(rows)) terminal.print(line)
}

/** `hearth job show ID`: the progress of a job, its peers, its errors, and what it waits for. */
export async function jobShowCommand(
  id: string,
  context: CommandContext,
  options: PlaceOptions = {},
): Promise<number> {
  const { terminal } = context
  return await atPlace(id, options, context, async (place) => {
    const placed = await detailAt(place, context)
    if (terminal.isJson) terminal.print(JSON.stringify(detailEvent(placed)))
    else printDetail(placed, terminal)
    return EXIT.ok
  })
}

function printDetail({ view, peer }: PlacedView<JobDetail>, terminal: Terminal): void {
  const { job, counts, state, waiting, stopped, resultsByPeer, errors } = view
  terminal.print(`job       ${job.jobId}  ${state}`)
  if (peer !== undefined) terminal.print(`at        ${peer}`)
  terminal.print(`input     ${job.inputPath}`)
  terminal.print(`output    ${job.outputPath}`)
  terminal.print(`context   ${job.context}  ${job.contextId}`)
  terminal.print(`done      ${counts.committed} of ${counts.requests}, ${counts.failed} failed`)
  if (waiting !== undefined) terminal.print(`waiting   ${waiting.words} (${waiting.code})`)
  if (state === 'stopped') {
    if (stopped !== undefined) terminal.print(`stopped   ${stoppedWords(stopped)}`)
    terminal.print('resume    run the same "hearth submit" command again')
  }
  for (const { peer, results } of resultsByPeer)
    terminal.print(`  ${peer === '' ? 'given up' : peer}  ${results} results`)
  for (const { code, message, lines, exampleLine } of errors) {
    terminal.print(`  ${lines} × ${code}: ${message} (for example line ${exampleLine})`)
  }
}

/** `hearth job watch ID`: progress until the job has ended. */
export async function jobWatchCommand(
  id: string,
  context: CommandContext,
  options: PlaceOptions = {},
): Promise<number> {
  return await atPlace(id, options, context, (place) => watch(place, context))
}

async function watch(place: JobPlace, context: CommandContext): Promise<number> {
  const { terminal, clock, signal } = context
  for (;;) {
    const placed = await viewAt(place, context)
    const { view } = placed
    terminal.event({ event: 'progress', ...jobEvent(placed) })
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

async function viewAt(place: JobPlace, context: CommandContext): Promise<PlacedView> {
  if (place.kind === 'elsewhere') return await detailAt(place, context)
  const { folder } = place
  const view = viewJob(folder, await runningJobs(context))
  if (view !== undefined) return { view, peer: undefined }
  throw new HearthError(
    'data-corrupt',
    `Job ${folder.jobId} has no journal, because its submission was cut short. Submit it again`,
  )
}

async function detailAt(place: JobPlace, context: CommandContext): Promise<PlacedView<JobDetail>> {
  if (place.kind === 'here')
    return { view: await detailJob(place.folder, await runningJobs(context)), peer: undefined }
  const { peer, jobId, ask } = place
  const answer = await ask({ type: 'show', job: jobId })
  if (answer.type === 'job') return { view: answer.job, peer }
  throw unexpected(peer, answer.type)
}

/** An interrupt has no code of its own, and its words suffice. */
function stoppedWords({ code, words }: { code: string; words: string }): string {
  return code === 'internal' ? words : `${words} (${code})`
}

function jobEvent({ view, peer }: PlacedView): Record<string, unknown> {
  const { job, state, counts, waiting, progress } = view
  return {
    ...job,
    state,
    ...counts,
    waiting: waiting ?? null,
    progress: progress ?? null,
    peer: peer ?? null,
  }
}

function detailEvent(placed: PlacedView<JobDetail>): Record<string, unknown> {
  const { stopped, errors, resultsByPeer, eventsPath } = placed.view
  return { ...jobEvent(placed), stopped: stopped ?? null, errors, resultsByPeer, events: eventsPath }
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

function lineOf({ state, counts, progress, waiting }: JobView): string {
  if (progress !== undefined) return progressLine({ counts, progress })
  const why = waiting === undefined ? '' : `, ${paint('yellow', `waiting: ${waiting.words}`)}`
  return `${state}: ${counts.committed}/${counts.requests}, ${counts.failed} failed${why}`
}
