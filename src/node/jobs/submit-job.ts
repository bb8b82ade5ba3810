import { resolve } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { isHearthError, messageOf } from '../../base/errors.ts'
import { EventLog } from '../../base/log/event-log.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Random } from '../../base/random.ts'
import { JOB_LOG_SCHEMA } from '../../tasks/submitter/core/coordinator-events.ts'
import { Coordinator, COORDINATOR_SHELL_DEFAULTS } from '../../tasks/submitter/coordinator.ts'
import { readJobFile, type JobFileOptions } from '../../tasks/job/job-file.ts'
import type { JobProgress } from '../../tasks/submitter/job-progress.ts'
import { Journal, type JournalCounts } from '../../tasks/journal/journal.ts'
import type { Mended } from '../../tasks/journal/journal-mend.ts'
import { claimOutput, outputPathOf, writeOutputFile } from '../../tasks/journal/output-file.ts'
import type { RememberedPeer } from '../../dht/join/remembered-peers.ts'
import type { DataFolder } from '../home/data-folder.ts'
import { loadOrCreateIdentity, peerIdAt } from '../home/identity.ts'
import { bodyCheckOf } from './body-check.ts'
import { hashFile, JobFolder, jobIdOf } from './job-folder.ts'
import { openHere } from './place-file.ts'
import { Peer } from '../peer.ts'
import { resolveContext } from '../contexts/resolve-context.ts'

export interface SubmitComponents {
  clock: Clock
  random: Random
  log: Logger
}

/** A job to run, and the options for reading it. */
export interface JobRequest {
  inputPath: string
  outputPath: string
  /** A context's name in the swarm, or its CID. */
  context: string
  reading: JobFileOptions
  /** Whether the running peer is to carry it, across its restarts. */
  isDetached: boolean
  /** Whether an existing file that the job did not write is replaced. */
  isForced: boolean
}

/** Where a job runs. */
export interface RunOptions {
  /** Where the swarm is: multiaddrs of any of its peers. */
  bootstrap: readonly string[]
  /** The swarm's id; asked of the bootstrap peer when absent. */
  swarm?: string | undefined
  /** Told of peers of the swarm that answered, now and then and at the end. */
  onVisit?: ((swarm: string, peers: readonly RememberedPeer[]) => void) | undefined
  /** For evaluation: requests of one lease. Without it peers are given what they have credit for. */
  leaseSize?: number | undefined
  /** How long nothing may be able to run before the job is given up, ms; Infinity waits for ever. */
  giveUpMs: number
  signal?: AbortSignal | undefined
}

/** Told once the job runs: what can be read of it at any time from then on. */
export type OnRunning = (running: { progress(): JobProgress; counts(): JournalCounts }) => void

/** An open journal and the folder it lies in. Whoever opened it closes it. */
export interface OpenJob {
  folder: JobFolder
  journal: Journal
  isResumed: boolean
}

export interface JobSummary {
  jobId: string
  contextId: string
  counts: JournalCounts
  resultsByPeer: { peer: string; results: number }[]
  outputPath: string
  /** The counts when this run of the job began. */
  before: JournalCounts
  /** Damaged rows of the journal, found when the job began. */
  mended: Mended
  wallMs: number
}

/** How long a submitter looks for a context's name among the peers, ms. */
const RESOLVE_MS = 10_000
/** A CID, or a name that is to stand for one from now on. */
const CONTEXT_ID = /^(?:(?<name>[^=]+)=)?(?<contextId>b[a-z2-7]{50,})$/
const EVENT_FLUSH_MS = 500
const EVENTS_WAITING_MAX = 65_536

/**
 * Finds or makes the journal of a job. The same request again, after whatever ended the first, is the
 * same job. Throws `input-invalid` with every bad line, `usage` for an output that may not be written, `data-in-use`, `disk-full`.
 */
export async function openJob(
  { clock, log }: SubmitComponents,
  data: DataFolder,
  request: JobRequest,
): Promise<OpenJob> {
  const { context, reading, isDetached, isForced } = request
  const inputPath = resolve(request.inputPath)
  const outputPath = outputPathOf(request.outputPath)
  const inputSha256 = await hashFile(inputPath)
  const folder = new JobFolder(data, jobIdOf(inputSha256, { inputPath, outputPath, context, reading }))
  await claimOutput(outputPath, { jobId: folder.jobId, inputPath, isForced })
  const existing = openHere(folder)
  if (existing !== undefined) return { folder, journal: existing, isResumed: true }
  const contextId = CONTEXT_ID.exec(context)?.groups?.['contextId'] ?? ''
  const { jobId } = folder
  const record = {
    jobId,
    context,
    contextId,
    inputPath,
    inputSha256,
    outputPath,
    createdAtMs: clock.wallMs(),
    isDetached,
  }
  const check = await bodyCheckOf(log, data, context)
  const journal = await Journal.create(folder.journalPath, record, readJobFile(inputPath, reading, check))
  return { folder, journal, isResumed: false }
}

/** Runs the unsettled requests of an open job on the swarm, and writes its output file. */
export async function runJob(
  components: SubmitComponents,
  { folder, journal }: OpenJob,
  options: RunOptions,
  onRunning: OnRunning,
): Promise<JobSummary> {
  const startedAtMs = components.clock.nowMs()
  const mended = journal.mend(components.clock.wallMs())
  if (mended.resultsForgotten + mended.requestsLost > 0)
    components.log.warn({ jobId: folder.jobId, ...mended }, 'damaged rows of the journal')
  const before = journal.counts()
  if (before.committed < before.requests) await coordinate(components, folder, journal, options, onRunning)
  const { jobId, contextId, outputPath } = journal.job
  await writeOutputFile(outputPath, jobId, journal.lines())
  return {
    jobId,
    contextId,
    counts: journal.counts(),
    resultsByPeer: journal.resultsByPeer(),
    outputPath,
    before,
    mended,
    wallMs: components.clock.nowMs() - startedAtMs,
  }
}

/** A job has an identity of its own, kept with its journal: peers keep results for it while it is away. */
async function coordinate(
  components: SubmitComponents,
  folder: JobFolder,
  journal: Journal,
  { bootstrap, swarm, leaseSize, giveUpMs, signal, onVisit }: RunOptions,
  onRunning: OnRunning,
): Promise<void> {
  const { clock } = components
  const identity = await loadOrCreateIdentity(folder.identityPath)
  const peer = await Peer.createSubmitter(components, { identity, bootstrap, swarm, onVisit })
  const events = new EventLog(clock, folder.eventsPath, {
    schema: { ...JOB_LOG_SCHEMA, jobId: folder.jobId, requests: journal.counts().requests },
    flushEveryMs: EVENT_FLUSH_MS,
    waitingMax: EVENTS_WAITING_MAX,
  })
  try {
    await peer.start()
    await peer.joined(signal, giveUpMs)
    await bindContext(components, folder, journal, { peer, giveUpMs, signal })
    const coordinator = new Coordinator(
      { ...components, network: peer.network, journal, candidates: peer.swarmView, events },
      { ...COORDINATOR_SHELL_DEFAULTS, giveUpMs, leaseSize, ownPeer: await peerIdAt(folder.ownPeerPath) },
    )
    onRunning({ progress: () => coordinator.progress(), counts: () => journal.counts() })
    await coordinator.run(signal)
  } catch (error) {
    events.add({
      kind: 'stopped',
      code: isHearthError(error) ? error.code : 'internal',
      message: messageOf(error),
    })
    throw error
  } finally {
    await peer.stop()
    await events.close()
  }
}

/** Binds a job to one context. The first use of a name in a swarm decides which context it is. */
async function bindContext(
  { clock }: SubmitComponents,
  { names }: JobFolder,
  journal: Journal,
  { peer, giveUpMs, signal }: { peer: Peer; giveUpMs: number; signal: AbortSignal | undefined },
): Promise<void> {
  const { context, contextId } = journal.job
  const swarm = peer.swarm ?? ''
  if (contextId !== '') {
    const accepted = CONTEXT_ID.exec(context)?.groups?.['name']
    if (accepted !== undefined) names.set(swarm, accepted, contextId)
    return
  }
  const use = { name: context, known: names.get(swarm, context) }
  const found = await resolveContext(clock, peer.swarmView, use, Math.min(RESOLVE_MS, giveUpMs), signal)
  names.set(swarm, context, found)
  journal.bindContext(found)
}
