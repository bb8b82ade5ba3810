import { askPeer } from '../../api/control-client.ts'
import { sleep } from '../../base/clock.ts'
import { HearthError, isHearthError } from '../../base/errors.ts'
import { temporaryIdentity } from '../../node/home/identity.ts'
import type { DataFolder } from '../../node/home/data-folder.ts'
import type { RunningJob } from '../../node/jobs/detached-jobs.ts'
import { mayRun } from '../../node/jobs/core/job-place.ts'
import { placeOf } from '../../node/jobs/place-file.ts'
import { findJob, JobFolder, listJobs } from '../../node/jobs/job-folder.ts'
import { JobAsker, type JobsElsewhere, type PeerJobs } from '../../node/owner/job-asker.ts'
import { answerFromJson, type GivenAnswer, type JobQuestion } from '../../node/owner/job-messages.ts'
import { loadOwner } from '../../node/owner/owner-key.ts'
import { Peer } from '../../node/peer.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { shortPeer } from '../terminal/terminal.ts'

/** Options of commands that find a job wherever it is. */
export interface PlaceOptions {
  /** The peer that has the job, as an id or its end. */
  peer?: string
  bootstrap?: string[]
  swarm?: string
}

/** Where a job is: in this data folder, or at another peer of the same owner. */
export type JobPlace =
  | { kind: 'here'; folder: JobFolder }
  | { kind: 'elsewhere'; peer: string; jobId: string; ask: AskThere }

/** Asks the peer that has the job. Throws what it answers. */
type AskThere = (question: JobQuestion) => Promise<GivenAnswer>

/** A peer of one command has met the others when none came for so long, and at the latest then, ms. */
const MEET_QUIET_MS = 1_000
const MEET_MS_MAX = 5_000

/**
 * Finds the job whose id starts with `idStart`, first in this data folder, then at the owner's other peers,
 * and calls `run` with its place. Throws `usage` when no job or several have it.
 */
export async function atPlace<T>(
  idStart: string,
  options: PlaceOptions,
  context: CommandContext,
  run: (place: JobPlace) => Promise<T>,
): Promise<T> {
  const { data, signal } = context
  const isHere = listJobs(data).some(
    (jobId) => jobId.startsWith(idStart) && isOurs(new JobFolder(data, jobId)),
  )
  const mayAsk = options.peer !== undefined || (!isHere && (await loadOwner(data)) !== undefined)
  if (!mayAsk) return await run({ kind: 'here', folder: findJob(data, idStart) })
  return await withElsewhere(options, context, async (elsewhere) => {
    if (elsewhere === undefined) return await run({ kind: 'here', folder: findJob(data, idStart) })
    const found = ofPeer(await elsewhere.list(signal), options.peer).flatMap(({ peer, jobs }) =>
      withoutAway(jobs)
        .filter(({ job }) => job.jobId.startsWith(idStart))
        .map(({ job }) => ({ peer, jobId: job.jobId })),
    )
    const [only] = found
    if (
      only === undefined &&
      options.peer === undefined &&
      listJobs(data).some((jobId) => jobId.startsWith(idStart))
    )
      return await run({ kind: 'here', folder: findJob(data, idStart) })
    if (only === undefined || found.length > 1) throw notOne(idStart, found)
    const ask: AskThere = (question) => elsewhere.ask(only.peer, question, signal)
    return await run({ kind: 'elsewhere', ...only, ask })
  })
}

/** A job that was moved away is shown from where it is, if that peer is reachable. */
function withoutAway(jobs: PeerJobs['jobs']): PeerJobs['jobs'] {
  return jobs.filter(({ state }) => state !== 'moved' && state !== 'arriving')
}

function isOurs(folder: JobFolder): boolean {
  try {
    return mayRun(placeOf(folder))
  } catch {
    // A damaged place is told of by whoever opens the job.
    return true
  }
}

/** The owner's peer with this id or end of an id. Throws `peer-unreachable` with those that are there. */
export async function peerNamed(wanted: string, context: CommandContext): Promise<string> {
  return await withElsewhere({}, context, async (elsewhere) => {
    const [found] = ofPeer((await elsewhere?.list(context.signal)) ?? [], wanted)
    if (found === undefined) throw new TypeError('ofPeer finds a peer or throws')
    return found.peer
  })
}

/** The jobs at the owner's other peers; undefined when this folder has no owner key, or nothing knows the swarm. */
export async function jobsElsewhere(
  options: PlaceOptions,
  context: CommandContext,
): Promise<PeerJobs[] | undefined> {
  if ((await loadOwner(context.data)) === undefined) return undefined
  return await withElsewhere(options, context, async (elsewhere) =>
    elsewhere === undefined ? undefined : ofPeer(await elsewhere.list(context.signal), options.peer),
  )
}

/** Jobs that the peer of this data folder runs now, by id. */
export async function runningJobs({ data, signal }: CommandContext): Promise<Map<string, RunningJob>> {
  const jobs = await askPeerIfUp(data, (access) =>
    askPeer<RunningJob[]>(access, '/v0/jobs', undefined, signal),
  )
  return new Map((jobs ?? []).map((job) => [job.jobId, job]))
}

/** The answer of the running peer; undefined when none runs. */
export async function askPeerIfUp<T>(
  data: DataFolder,
  ask: (access: { port: number; key: string }) => Promise<T>,
): Promise<T | undefined> {
  const access = data.control()
  if (access === undefined) return undefined
  try {
    return await ask(access)
  } catch (error) {
    if (isHearthError(error, 'peer-unreachable') && error.data['peer'] === undefined) return undefined
    throw error
  }
}

/** Through the bootstrap peers given, else through the peer of this data folder, else not at all. */
async function withElsewhere<T>(
  options: PlaceOptions,
  context: CommandContext,
  run: (elsewhere: JobsElsewhere | undefined) => Promise<T>,
): Promise<T> {
  const { bootstrap = [], swarm } = options
  if (bootstrap.length > 0) return await withVisitor(bootstrap, swarm, context, run)
  const { data, signal } = context
  const isUp = await askPeerIfUp(data, (access) => askPeer(access, '/v0/jobs', undefined, signal))
  const access = data.control()
  if (isUp === undefined || access === undefined) return await run(undefined)
  return await run({
    list: (signal) => askPeer<PeerJobs[]>(access, '/v0/owned-jobs', undefined, signal),
    ask: async (peer, question, signal) =>
      answerFromJson(await askPeer<GivenAnswer>(access, '/v0/owned-jobs/ask', { peer, question }, signal)),
  })
}

/** A peer for one command, as "hearth submit" has. */
async function withVisitor<T>(
  bootstrap: string[],
  swarm: string | undefined,
  context: CommandContext,
  run: (elsewhere: JobsElsewhere) => Promise<T>,
): Promise<T> {
  const identity = await temporaryIdentity()
  const peer = await Peer.createSubmitter(context, { identity, bootstrap, swarm })
  try {
    await peer.start()
    await peer.joined(context.signal)
    await untilMet(peer, context)
    const members = (): string[] => peer.members()
    const owner = (): ReturnType<typeof loadOwner> => loadOwner(context.data)
    return await run(new JobAsker({ ...context, network: peer.network, members, owner }))
  } finally {
    await peer.stop()
  }
}

/** A newcomer asks its first peers whom they know and dials those: resolves when nobody new came for a while. */
async function untilMet(peer: Peer, { clock, signal }: CommandContext): Promise<void> {
  const endMs = clock.nowMs() + MEET_MS_MAX
  let met = 0
  do {
    met = peer.members().length
    await sleep(clock, MEET_QUIET_MS, signal)
  } while (peer.members().length > met && clock.nowMs() < endMs)
}

function ofPeer(jobs: PeerJobs[], wanted: string | undefined): PeerJobs[] {
  if (wanted === undefined) return jobs
  const found = jobs.filter(({ peer }) => peer === wanted || peer.endsWith(wanted.replace('…', '')))
  if (found.length > 0) return found
  const others = jobs.map(({ peer }) => peer).join(', ') || 'none is reachable'
  throw new HearthError(
    'peer-unreachable',
    `No peer of yours answers to "${wanted}". Your peers: ${others}. "hearth owner show" must print the same name on both machines`,
    { data: { peer: wanted } },
  )
}

function notOne(idStart: string, found: { peer: string; jobId: string }[]): HearthError {
  const places = found.map(({ peer, jobId }) => `${jobId.slice(0, 8)} at ${shortPeer(peer)}`)
  return new HearthError(
    'usage',
    found.length === 0
      ? `No job id starts with "${idStart}", here or at your other peers. Run "hearth job ls" to list the jobs`
      : `${found.length} jobs start with "${idStart}": ${places.join(', ')}. Give more of the id, or --peer ID`,
  )
}
