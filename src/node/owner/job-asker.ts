import type { Clock } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Network } from '../../base/stream/network.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import type { JobView } from '../jobs/job-view.ts'
import {
  JOB_PROTOCOL,
  jobAnswerSchema,
  type GivenAnswer,
  type JobAnswer,
  type JobQuestion,
} from './job-messages.ts'
import { proveAsAsker } from './job-proof.ts'
import type { OwnerKey } from './owner-key.ts'
import { OWNER_ANSWER_DEADLINE_MS, OWNER_PROOF_DEADLINE_MS } from './timings.ts'

/** The jobs of one peer of the same owner. */
export interface PeerJobs {
  peer: string
  jobs: JobView[]
  /** Older jobs that are there and not listed. */
  leftOut: number
}

/** The owner's jobs at other peers, and questions about them. */
export interface JobsElsewhere {
  /** The jobs of every reachable peer of the owner. */
  list(signal: AbortSignal): Promise<PeerJobs[]>
  /** Throws the error that the peer answers, or `peer-unreachable`. */
  ask(peer: string, question: JobQuestion, signal: AbortSignal): Promise<GivenAnswer>
}

export interface JobAskerComponents {
  network: Network
  /** Connected peers of the swarm. */
  members: () => readonly string[]
  owner: () => Promise<OwnerKey | undefined>
  clock: Clock
  log: Logger
}

/** Peers asked at the same time. */
const ASKED_AT_ONCE = 16

/** Asks other peers about their jobs as their owner: job/1. A peer of another owner is told nothing. */
export class JobAsker implements JobsElsewhere {
  readonly #components: JobAskerComponents

  constructor(components: JobAskerComponents) {
    this.#components = components
  }

  /** A peer that does not answer, or has another owner, has no part in it. Nobody is asked without an owner key. */
  async list(signal: AbortSignal): Promise<PeerJobs[]> {
    const { members, network, owner } = this.#components
    if ((await owner()) === undefined) return []
    const waiting = members().filter((peer) => peer !== network.self)
    const found: PeerJobs[] = []
    const next = async (): Promise<void> => {
      for (let peer = waiting.pop(); peer !== undefined; peer = waiting.pop()) {
        const jobs = await this.#listOf(peer, signal)
        if (jobs !== undefined) found.push(jobs)
      }
    }
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, next))
    return found.sort((a, b) => (a.peer < b.peer ? -1 : 1))
  }

  async ask(peer: string, question: JobQuestion, signal: AbortSignal): Promise<GivenAnswer> {
    const { network, clock, owner } = this.#components
    const key = await owner()
    if (key === undefined)
      throw new HearthError(
        'usage',
        'This data folder has no owner key. Run "hearth owner export" on your other machine, and "hearth owner import" here',
      )
    const whose = `peer ${peer} about a job`
    return await withDeadline({ clock, ms: OWNER_ANSWER_DEADLINE_MS, whose, signal }, async (signal) => {
      const proofWait = { deadlineMs: OWNER_PROOF_DEADLINE_MS, signal }
      const stream = await network.open(peer, JOB_PROTOCOL, { lane: 'control', ...proofWait })
      try {
        await proveAsAsker(stream, { key, self: network.self }, proofWait)
        const wait = { deadlineMs: OWNER_ANSWER_DEADLINE_MS, signal }
        await stream.send(question, wait)
        const answer = await stream.receive(jobAnswerSchema, wait)
        await stream.close(wait)
        return requireAnswer(peer, answer)
      } catch (error) {
        stream.abort(error as Error)
        throw error
      }
    })
  }

  async #listOf(peer: string, signal: AbortSignal): Promise<PeerJobs | undefined> {
    try {
      const answer = await this.ask(peer, { type: 'list' }, signal)
      if (answer.type === 'jobs') return { peer, jobs: answer.jobs, leftOut: answer.leftOut }
      throw unexpected(peer, answer.type)
    } catch (error) {
      signal.throwIfAborted()
      const isForeign = isHearthError(error) && error.data['isForeign'] === true
      this.#components.log[isForeign ? 'debug' : 'info'](
        { peer, error: messageOf(error) },
        'no list of jobs from a peer',
      )
      return undefined
    }
  }
}

/** The error for an answer to another question. */
export function unexpected(peer: string, type: string): HearthError {
  return new HearthError('message-invalid', `peer ${peer} answered with "${type}"`, { data: { peer } })
}

function requireAnswer(peer: string, answer: JobAnswer | undefined): GivenAnswer {
  if (answer === undefined)
    throw new HearthError('stream-closed', `peer ${peer} ended the stream without an answer`, {
      data: { peer },
    })
  if (answer.type === 'failed') throw new HearthError(answer.code, answer.message, { data: { peer } })
  return answer
}
