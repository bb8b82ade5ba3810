import { generateKeyPair } from '@libp2p/crypto/keys'
import { every, type Cancel, type Clock } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { FRAME_BYTES_MAX, JOBS_TOLD_MAX, OWNER_PROOFS_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network } from '../../base/stream/network.ts'
import type { DataFolder } from '../home/data-folder.ts'
import type { DetachedJobs } from '../jobs/detached-jobs.ts'
import { findJob, JobFolder, listJobs } from '../jobs/job-folder.ts'
import { cancelJob, detailJob, viewJobs, type JobView } from '../jobs/job-view.ts'
import { placeOf } from '../jobs/place-file.ts'
import { JobArrivals } from './job-arrivals.ts'
import type { JobAsker } from './job-asker.ts'
import { confirmMove, moveJob, type JobTarget } from './move-job.ts'
import { removeJob } from '../jobs/job-upkeep.ts'
import {
  JOB_PROTOCOL,
  jobQuestionSchema,
  JOB_PEERS_TOLD_MAX,
  toWire,
  type JobAnswer,
  type JobQuestion,
} from './job-messages.ts'
import { proveAsServer } from './job-proof.ts'
import { ResultPages } from './result-pages.ts'
import { loadOwner, type OwnerKey } from './owner-key.ts'
import { CONFIRM_EVERY_MS, OWNER_ANSWER_DEADLINE_MS, OWNER_PROOF_DEADLINE_MS } from './timings.ts'

export interface OwnedJobsComponents {
  network: Network
  data: DataFolder
  jobs: Pick<DetachedJobs, 'list' | 'release' | 'run'>
  /** Asks other peers, to move jobs to them. */
  asker: Pick<JobAsker, 'ask'>
  clock: Clock
  log: Logger
}

/** Room of a list in its frame, bytes. */
const LIST_BYTES_MAX: number = FRAME_BYTES_MAX / 2

/** Answers the owner's questions from other machines about the jobs of this data folder: job/1. */
export class OwnedJobs {
  readonly #components: OwnedJobsComponents
  readonly #pages: ResultPages
  readonly #arrivals: JobArrivals
  readonly #stopped = new AbortController()
  #cancelConfirming: Cancel = () => {}
  /** Compared with while this folder has no owner key, so that a stranger sees no difference. */
  #nobody: OwnerKey | undefined
  /** Streams whose proof is under way, oldest first. */
  readonly #proving = new Set<MessageStream>()
  #unhandle: () => Promise<void> = async () => {}

  constructor(components: OwnedJobsComponents) {
    this.#components = components
    this.#pages = new ResultPages(components.clock)
    this.#arrivals = new JobArrivals(components.data, (jobId) => components.jobs.run(jobId))
  }

  async start(): Promise<void> {
    this.#nobody = await generateKeyPair('Ed25519')
    this.#unhandle = await this.#components.network.handle(JOB_PROTOCOL, (stream, signal) =>
      this.#serve(stream, signal),
    )
    this.#cancelConfirming = every(this.#components.clock, CONFIRM_EVERY_MS, () => void this.#confirmMoves())
    void this.#confirmMoves()
  }

  async stop(): Promise<void> {
    this.#cancelConfirming()
    this.#stopped.abort(new HearthError('stream-closed', 'this peer is stopping'))
    await this.#unhandle()
    this.#pages.close()
  }

  /**
   * Moves a job of this machine to another peer of the owner, where it goes on. It goes on here when that fails
   * before the other peer has it. Throws what the other peer answers.
   */
  async move(jobId: string, to: string, signal: AbortSignal): Promise<void> {
    const { data, jobs } = this.#components
    const folder = findJob(data, jobId)
    const target = this.#target(to, signal)
    if (placeOf(folder)?.kind === 'moved') return await confirmMove(folder, target)
    await jobs.release(jobId)
    try {
      await moveJob(folder, target)
    } finally {
      jobs.run(jobId)
    }
  }

  /** A move whose end was not heard: the other peer is told again that it has the job. */
  async #confirmMoves(): Promise<void> {
    const { data, log } = this.#components
    for (const jobId of listJobs(data)) {
      try {
        const folder = new JobFolder(data, jobId)
        const place = placeOf(folder)
        if (place?.kind !== 'moved' || place.isConfirmed) continue
        await confirmMove(folder, this.#target(place.to, this.#stopped.signal))
      } catch (error) {
        log.info({ jobId, error: messageOf(error) }, 'the peer that a job was moved to has not confirmed it')
      }
    }
  }

  #target(peer: string, signal: AbortSignal): JobTarget {
    return { peer, ask: (question) => this.#components.asker.ask(peer, question, signal) }
  }

  /** An owner proves itself at once, so that silent strangers, who are the oldest, make room for it. */
  async #serve(stream: MessageStream, signal: AbortSignal): Promise<void> {
    const [oldest] = this.#proving
    if (oldest !== undefined && this.#proving.size >= OWNER_PROOFS_MAX) {
      this.#proving.delete(oldest)
      oldest.abort(new HearthError('limit-reached', `${OWNER_PROOFS_MAX} other peers prove their owner`))
    }
    this.#proving.add(stream)
    const isOurs = await this.#isOurs(stream, signal).finally(() => this.#proving.delete(stream))
    if (!isOurs) return
    const wait = { deadlineMs: OWNER_ANSWER_DEADLINE_MS, signal }
    const question = await stream.receive(jobQuestionSchema, wait)
    if (question === undefined) return
    await stream.send(toWire(await this.#answer(stream.peer, question)), wait)
  }

  /** The key is read for each question, so that an imported one counts at once. */
  async #isOurs(stream: MessageStream, signal: AbortSignal): Promise<boolean> {
    const { data, network } = this.#components
    const key = (await loadOwner(data)) ?? this.#nobody
    if (key === undefined) throw new TypeError('questions are answered between start and stop')
    return await proveAsServer(
      stream,
      { key, self: network.self },
      { deadlineMs: OWNER_PROOF_DEADLINE_MS, signal },
    )
  }

  async #answer(from: string, question: JobQuestion): Promise<JobAnswer> {
    const { log } = this.#components
    try {
      return await this.#carryOut(from, question)
    } catch (error) {
      if (!isHearthError(error)) log.error({ error: messageOf(error) }, 'a question about a job failed')
      const code = isHearthError(error) ? error.code : 'internal'
      return { type: 'failed', code, message: messageOf(error) }
    }
  }

  async #carryOut(from: string, question: JobQuestion): Promise<JobAnswer> {
    const { data, clock, jobs } = this.#components
    if (question.type === 'list') return this.#list()
    if ('transfer' in question) return { type: 'held', bytes: await this.#arrivals.answer(from, question) }
    const folder = findJob(data, question.job)
    if (question.type === 'show') return await this.#show(folder)
    if (question.type === 'results')
      return { type: 'page', page: await this.#pages.page(folder, question.at) }
    if (question.type === 'remove') {
      removeJob(folder, question)
      return { type: 'removed', jobId: folder.jobId }
    }
    await jobs.release(folder.jobId)
    return { type: 'cancelled', job: await cancelJob(folder, clock.wallMs()) }
  }

  async #show(folder: JobFolder): Promise<JobAnswer> {
    const job = await detailJob(folder, this.#running())
    const resultsByPeer = job.resultsByPeer.slice(0, JOB_PEERS_TOLD_MAX)
    return { type: 'job', job: { ...job, progress: fitting(job), resultsByPeer } }
  }

  #list(): JobAnswer {
    const { data, log } = this.#components
    const views = viewJobs(data, this.#running(), (jobId, error) =>
      log.warn({ jobId, error: messageOf(error) }, 'a job cannot be read'),
    )
    return { type: 'jobs', ...newestThatFit(views) }
  }

  #running(): Map<string, Pick<JobView, 'progress' | 'waiting'>> {
    return new Map(this.#components.jobs.list().map((job) => [job.jobId, job]))
  }
}

function fitting({ progress }: JobView): JobView['progress'] {
  return progress && { ...progress, peers: progress.peers.slice(0, JOB_PEERS_TOLD_MAX) }
}

/** The newest of jobs that are sorted by age, as many as one answer takes. */
export function newestThatFit(views: readonly JobView[]): { jobs: JobView[]; leftOut: number } {
  const jobs: JobView[] = []
  let bytes = 0
  for (const view of views.toReversed()) {
    const told = { ...view, progress: undefined }
    bytes += Buffer.byteLength(JSON.stringify(told))
    if (bytes > LIST_BYTES_MAX || jobs.length >= JOBS_TOLD_MAX) break
    jobs.unshift(told)
  }
  return { jobs, leftOut: views.length - jobs.length }
}
