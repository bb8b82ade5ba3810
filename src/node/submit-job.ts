import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { withDeadline } from '../base/deadline.ts'
import { HearthError, messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import { Coordinator, COORDINATOR_SHELL_DEFAULTS } from '../tasks/coordinator.ts'
import { readJobFile } from '../tasks/job-file.ts'
import type { JobProgress } from '../tasks/job-progress.ts'
import { Journal, type JournalCounts } from '../tasks/journal.ts'
import { writeOutputFile } from '../tasks/output-file.ts'
import type { DataFolder } from './data-folder.ts'
import { loadOrCreateIdentity } from './identity.ts'
import { Peer } from './peer.ts'

export interface SubmitComponents {
  clock: Clock
  random: Random
  log: Logger
}

export interface SubmitOptions {
  inputPath: string
  outputPath: string
  /** A context's name in the swarm, or its CID. */
  context: string
  data: DataFolder
  /** Where the swarm is: multiaddrs of any of its peers. */
  bootstrap: readonly string[]
  /** The swarm's id; asked of the bootstrap peer when absent. */
  swarm?: string | undefined
  /** How long nothing may be able to run before the job is given up, ms. */
  giveUpMs?: number | undefined
  signal?: AbortSignal | undefined
}

export interface SubmitListener {
  /** The journal is open: `committed` of `requests` lines are done by earlier runs. */
  onJournal(counts: JournalCounts, job: { jobId: string; isResumed: boolean }): void
  /** The job runs; `progress` and `counts` can be read at any time from now on. */
  onRunning(running: { progress(): JobProgress; counts(): JournalCounts }): void
}

export interface JobSummary {
  jobId: string
  contextId: string
  counts: JournalCounts
  resultsByPeer: { peer: string; results: number }[]
  outputPath: string
  wallMs: number
}

/** How long a submitter looks for a context's name among the peers, ms. */
const RESOLVE_MS = 10_000
/** Between two looks, ms. */
const RESOLVE_AGAIN_MS = 250
const CONTEXT_ID = /^b[a-z2-7]{50,}$/

/**
 * Runs a job file on the swarm and writes its output file. The same call again, after whatever ended
 * the first, goes on where the journal stands: no committed line runs twice.
 */
export async function submitJob(
  components: SubmitComponents,
  options: SubmitOptions,
  listener: SubmitListener,
): Promise<JobSummary> {
  const startedAtMs = components.clock.nowMs()
  const outputPath = resolve(options.outputPath)
  await requireWritable(outputPath)
  const inputSha256 = await hashFile(options.inputPath)
  const jobId = jobIdOf(inputSha256, options.context, outputPath)
  const folder = join(options.data.jobsPath, jobId)
  const { journal, isResumed } = await openJournal(components, options, {
    folder,
    jobId,
    inputSha256,
    outputPath,
  })
  try {
    const counts = journal.counts()
    listener.onJournal(counts, { jobId, isResumed })
    if (counts.committed < counts.requests) await runJob(components, options, journal, folder, listener)
    await writeOutputFile(outputPath, jobId, journal.lines())
    const wallMs = components.clock.nowMs() - startedAtMs
    const { contextId } = journal.job
    return {
      jobId,
      contextId,
      counts: journal.counts(),
      resultsByPeer: journal.resultsByPeer(),
      outputPath,
      wallMs,
    }
  } finally {
    journal.close()
  }
}

/** The same input, context and output are the same job: that is how a second run finds the first's journal. */
function jobIdOf(inputSha256: string, context: string, outputPath: string): string {
  return createHash('sha256')
    .update(JSON.stringify([inputSha256, context, outputPath]))
    .digest('hex')
    .slice(0, 32)
}

async function openJournal(
  { clock }: SubmitComponents,
  { inputPath, context }: SubmitOptions,
  found: { folder: string; jobId: string; inputSha256: string; outputPath: string },
): Promise<{ journal: Journal; isResumed: boolean }> {
  const path = join(found.folder, 'journal.sqlite')
  const existing = Journal.open(path)
  if (existing !== undefined) return { journal: existing, isResumed: true }
  const { jobId, inputSha256, outputPath } = found
  const contextId = CONTEXT_ID.test(context) ? context : ''
  const record = {
    jobId,
    context,
    contextId,
    inputPath: resolve(inputPath),
    inputSha256,
    outputPath,
    createdAtMs: clock.wallMs(),
  }
  return { journal: await Journal.create(path, record, readJobFile(inputPath)), isResumed: false }
}

/** A job has an identity of its own, kept with its journal: peers keep results for it while it is away. */
async function runJob(
  components: SubmitComponents,
  options: SubmitOptions,
  journal: Journal,
  folder: string,
  listener: SubmitListener,
): Promise<void> {
  const identity = await loadOrCreateIdentity(join(folder, 'identity.key'))
  const peer = await Peer.createSubmitter(components, {
    identity,
    bootstrap: options.bootstrap,
    swarm: options.swarm,
  })
  await peer.start()
  try {
    await peer.joined(options.signal)
    if (journal.job.contextId === '') journal.bindContext(await resolveContext(components, peer, options))
    const coordinator = new Coordinator(
      { ...components, network: peer.network, journal, candidates: peer.swarmView },
      {
        ...COORDINATOR_SHELL_DEFAULTS,
        ...(options.giveUpMs === undefined ? {} : { giveUpMs: options.giveUpMs }),
      },
    )
    listener.onRunning({ progress: () => coordinator.progress(), counts: () => journal.counts() })
    await coordinator.run(options.signal)
  } finally {
    await peer.stop()
  }
}

/** Asks again for a while: the adverts of a swarm just joined come in within a second or two. */
async function resolveContext(
  { clock }: SubmitComponents,
  peer: Peer,
  options: SubmitOptions,
): Promise<string> {
  const { context, signal } = options
  let lastError: unknown
  const deadline = {
    clock,
    ms: Math.min(RESOLVE_MS, options.giveUpMs ?? RESOLVE_MS),
    whose: `a peer that holds "${context}"`,
    signal,
  }
  try {
    return await withDeadline(deadline, async (until) => {
      for (;;) {
        try {
          return await peer.swarmView.resolve(context, until)
        } catch (error) {
          lastError = error
        }
        await new Promise<void>((done) => clock.schedule(RESOLVE_AGAIN_MS, done))
        until.throwIfAborted()
      }
    })
  } catch (error) {
    signal?.throwIfAborted()
    throw lastError ?? error
  }
}

async function requireWritable(outputPath: string): Promise<void> {
  try {
    await access(dirname(outputPath), constants.W_OK)
  } catch (cause) {
    throw new HearthError(
      'output-unwritable',
      `cannot write to ${dirname(outputPath)}: ${messageOf(cause)}`,
      { cause },
    )
  }
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk)
  } catch (cause) {
    throw new HearthError('input-invalid', `cannot read ${path}: ${messageOf(cause)}`, { cause })
  }
  return hash.digest('hex')
}
