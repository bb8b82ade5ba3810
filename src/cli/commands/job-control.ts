import { askPeer } from '../../api/control-client.ts'
import { HearthError } from '../../base/errors.ts'
import { findJob, readJournal, type JobFolder } from '../../node/jobs/job-folder.ts'
import { cancelJob, openJournal, type CancelledJob } from '../../node/jobs/job-view.ts'
import { removeJob } from '../../node/jobs/job-upkeep.ts'
import type { GivenAnswer } from '../../node/owner/job-messages.ts'
import { copyResults, printResults, type DistantJob } from '../../node/owner/copy-results.ts'
import { unexpected } from '../../node/owner/job-asker.ts'
import { outputPathOf, STDOUT, writeOutputFile } from '../../tasks/journal/output-file.ts'
import { standardOutput } from '../../tasks/journal/standard-output.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { formatBytes, shortPeer, type Terminal } from '../terminal/terminal.ts'
import { requireControl } from './status.ts'
import { askPeerIfUp, atPlace, peerNamed, type JobPlace, type PlaceOptions } from './job-place.ts'
import { carryOut, whereToRun } from './submit.ts'

/** `hearth job results ID [-o FILE]`: the lines settled so far, in input order, from wherever the job is. */
export async function jobResultsCommand(
  id: string,
  options: PlaceOptions & { output?: string },
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  const path = options.output === undefined ? undefined : outputPathOf(options.output)
  return await atPlace(id, options, context, async (place) => {
    if (place.kind === 'here') await resultsHere(place.folder, path, terminal)
    else await resultsThere(place, path, terminal)
    return EXIT.ok
  })
}

async function resultsHere(folder: JobFolder, path: string | undefined, terminal: Terminal): Promise<void> {
  const journal = readJournal(folder)
  try {
    await writeOutputFile(path ?? STDOUT, folder.jobId, journal.lines())
    if (path !== undefined) terminal.note(`${journal.counts().committed} lines: ${path}`)
  } finally {
    journal.close()
  }
}

async function resultsThere(job: DistantJob, path: string | undefined, terminal: Terminal): Promise<void> {
  if (path !== undefined && path !== STDOUT) {
    const { bytes } = await copyResults(job, path)
    return terminal.note(`${formatBytes(bytes)}: ${path}`)
  }
  await printResults(job, standardOutput)
}

/** `hearth job cancel ID`: stops the job; its unanswered lines become error lines. */
export async function jobCancelCommand(
  id: string,
  context: CommandContext,
  options: PlaceOptions = {},
): Promise<number> {
  const { terminal } = context
  return await atPlace(id, options, context, async (place) => {
    const { jobId, requests, committed, outputPath } =
      place.kind === 'here' ? await cancelHere(place.folder, context) : await cancelThere(place)
    terminal.event({ event: 'job-cancelled', jobId, requests, committed })
    terminal.note(
      `Cancelled. ${committed} of ${requests} lines have answers; the others are error lines in ${outputPath}${place.kind === 'here' ? '' : ' there'}`,
    )
    return EXIT.ok
  })
}

async function cancelHere(folder: JobFolder, { data, clock, signal }: CommandContext): Promise<CancelledJob> {
  await askPeerIfUp(data, (access) => askPeer(access, `/v0/jobs/${folder.jobId}/release`, {}, signal))
  return await cancelJob(folder, clock.wallMs())
}

async function cancelThere({
  peer,
  jobId,
  ask,
}: Extract<JobPlace, { kind: 'elsewhere' }>): Promise<CancelledJob> {
  const answer = await ask({ type: 'cancel', job: jobId })
  if (answer.type === 'cancelled') return answer.job
  throw unexpected(peer, answer.type)
}

/** `hearth job rm ID`: removes a finished job and its journal; its output file stays. */
export async function jobRemoveCommand(
  id: string,
  context: CommandContext,
  options: PlaceOptions & { force?: boolean } = {},
): Promise<number> {
  const { terminal } = context
  const isForced = options.force === true
  return await atPlace(id, options, context, async (place) => {
    const jobId = place.kind === 'here' ? place.folder.jobId : place.jobId
    if (place.kind === 'here') removeJob(place.folder, { isForced })
    else requireRemoved(place.peer, await place.ask({ type: 'remove', job: jobId, isForced }))
    terminal.event({ event: 'job-removed', jobId })
    terminal.note(`Removed job ${jobId}; its output file stays`)
    return EXIT.ok
  })
}

function requireRemoved(peer: string, { type }: GivenAnswer): void {
  if (type !== 'removed') throw unexpected(peer, type)
}

/** `hearth job move ID --to PEER`: another of the owner's machines goes on with a job of this one. */
export async function jobMoveCommand(
  id: string,
  options: { to: string },
  context: CommandContext,
): Promise<number> {
  const { terminal, data, signal } = context
  const { jobId } = findJob(data, id)
  const access = requireControl(data.control())
  const to = await peerNamed(options.to, context)
  await askPeer(access, '/v0/owned-jobs/move', { job: jobId, to }, signal)
  terminal.event({ event: 'job-moved', jobId, peer: to })
  terminal.note(`Moved job ${jobId.slice(0, 8)} to ${shortPeer(to)}, which goes on with it`)
  terminal.note(
    `  this machine may be switched off; "hearth job results ${jobId.slice(0, 8)} -o FILE" copies the results`,
  )
  return EXIT.ok
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
  const journal = openJournal(folder)
  const requests = journal.reopenFailed()
  terminal.note(
    requests === 0 ? 'No request of this job failed' : `Running ${requests} failed requests again`,
  )
  return await carryOut({ folder, journal, isResumed: true }, run, context)
}
