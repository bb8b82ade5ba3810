import { z } from 'zod'
import { EVALUATION_MODES, type EvaluationMode } from '../../src/tasks/worker/core/worker-state.ts'
import { churnSchema, type Churn } from './churn-schema.ts'
import {
  coordinatorConstants,
  replicationConstants,
  residencyConstants,
  workerConstants,
} from './constants-schema.ts'

/*
 * The schema of scenario files. Times are seconds unless a name says otherwise. MB and GB are 10^6 and 10^9
 * bytes, Mbps 10^6 bits per second. docs/simulator.md explains each part.
 */

export type Mode = EvaluationMode

export interface Device {
  /** At full occupancy, all slots together. */
  inferenceS: number
  /** From disk to ready. */
  loadS: number
  slots: number
  memoryGB: number
  /** How much longer than its model's an inference takes on some hosts, and how common these are. */
  hosts: { factor: number; share: number }[]
  /** The line of hosts with it; else the group's. */
  upMbps?: number | undefined
  downMbps?: number | undefined
  /** How much longer unpacking takes on such a host. */
  unpackFactor: number
}

export interface PeerGroup {
  name: string
  count: number
  /** One model, or models with their shares. */
  device: string | Record<string, number>
  upMbps: number
  downMbps: number
  /** The owners' upload limit; default: the whole uplink. */
  uploadCapMbps?: number | undefined
  /** From the peer to the middle of the network; a message takes both ends' together. */
  latencyMs: number
  /** Whether they hold every context from the start. */
  holds: boolean
  /** They come up one by one, evenly over this time. */
  joinAtS: number
  joinOverS: number
  /** They leave for good one by one, the lowest number first. */
  leave?: { fromS: number; everyS: number; noticeS: number } | undefined
  churn?: Churn | undefined
  /** Disk space for contexts on each peer; default: enough for all. */
  diskGB?: number | undefined
  /** This share of them runs everything so many times slower. */
  stragglers?: { share: number; factor: number } | undefined
  /** This share of them sends this share of all chunks wrong. */
  corrupters?: { share: number; chunkShare: number } | undefined
  /** This share of them says that it has every context loaded, has none, and answers nobody. */
  liars?: { share: number } | undefined
}

/** Peers that reach one another but nobody else for a while: neither submitters nor the origin. */
export interface Partition {
  /** The affected groups; default: all. */
  groups?: string[] | undefined
  share: number
  fromS: number
  untilS: number
}

export interface ContextKind {
  /** The number of equal contexts; a job's `context` is a number from 0. */
  count: number
  bytesGB: number
  /** The piece that a transfer asks for at once: 1 MiB in a live swarm; larger where a run would be too long. */
  chunkMB: number
  /** Making what was fetched usable, once per fetch: unpacking an environment. */
  unpackS: number
  memoryGB: number
  /** Each is put on so many of the peers that are up at the start, beside those of groups that hold all. */
  copies: number
}

export interface JobKind {
  /** Jobs of one name come from one submitter. */
  submitter: string
  /** The number of submitters of that name, which take turns. */
  submitters: number
  atS: number
  inferences: number
  /** A number; `zipf`: drawn, the first most often. */
  context: number | 'zipf'
  /** The number of equal jobs, `everyS` apart. */
  count: number
  everyS: number
}

export interface Work {
  /** Spread of an inference's length: its standard deviation over its mean. */
  variation: number
  /** Inferences without a prompt, all in one place of the file. */
  empties?: { from: number; count: number; inferenceS: number } | undefined
  /** The paper's manager takes this per batch, beside load and inference: sending, starting, collecting. */
  overheadS: Record<Mode, number>
}

export interface Dht {
  /** Until a new fact (up, stored, warm) is found by others. */
  publishS: number
  /** A look-up: its median and spread; the chance that it finds anything. */
  lookupMs: number
  lookupSigma: number
  success: number
  /** How long one that is gone is still found. */
  staleS: number
  /** Most that one look-up gives. */
  answersMax: number
}

/** Overheads of the processes of a live peer, besides its device; zero where unknown. */
export interface Shell {
  /** From being started until others can reach it. */
  startUpS: number
  /** Starting an engine host, before it loads a model. */
  hostStartS: number
  /** A request's time outside the model: its ways there and back. */
  requestMs: number
}

export interface Scenario {
  title: string
  extends?: string | undefined
  horizonS: number
  /** Distance of the points of the series; default: a 200th of the horizon. */
  stepS?: number | undefined
  /** `hearth`: ours. `paper`: batches, and contexts spread in a tree of whole copies, as by the paper's manager. */
  policy: 'hearth' | 'paper'
  mode: Mode
  /** Inferences in one batch of the paper's manager, which one worker gets and returns as a whole. */
  batch: number
  /** A request of many inferences stands for as many requests, where a run would be too long with one each. */
  inferencesPerRequest: number
  /** Transfers that one source of the paper's tree makes at once. */
  fanOut: number
  /** A CSV with `t_s` and `workers`: peers come and go so that so many are up; instead of the groups' churn. */
  joins?: string | undefined
  contexts: ContextKind
  jobs: JobKind[]
  zipfExponent: number
  work: Work
  /** Loads that meet contention, and how many times longer these take: log-normal about the median. */
  loads: { contendedShare: number; contendedFactor: number; contendedSigma: number }
  devices: Record<string, Device>
  peers: PeerGroup[]
  /** Where contexts come from at first, when `isThere`; else some peers must hold them. */
  origin: { upMbps: number; latencyMs: number; isThere: boolean }
  dht: Dht
  shell: Shell
  /** Rates are worked out to this relative precision. */
  flowTolerance: number
  partitions: Partition[]
  /** When the peer is down through which those join that know nobody: at first, or with an empty disk. */
  bootstrapLoss: { fromS: number; untilS: number }[]
  /** How a peer is lost: its connections are closed (its process was killed), or it falls silent (its host is gone). */
  losses: 'closed' | 'silent'
  /** Constants of the cores to run with instead of theirs. */
  coordinator: Record<string, number>
  worker: Record<string, number>
  residency: Record<string, number>
  replication: Record<string, number>
  /** Copies of each context that peers keep; 0: none but those that jobs need. */
  replicas: number
  /** Churn and faults stop here; by `boundS` later all work must be done. */
  quiet?: { fromS: number; boundS: number } | undefined
}

const seconds = z.number().min(0)
const share = z.number().min(0).max(1)
const count = z.int().min(0)

const host = z.strictObject({
  factor: z.number().positive(),
  share,
})

const device = z.strictObject({
  inferenceS: z.number().positive(),
  loadS: seconds,
  slots: z.int().min(1).default(1),
  memoryGB: z.number().positive().default(24),
  hosts: z.array(host).default([]),
  upMbps: z.number().positive().optional(),
  downMbps: z.number().positive().optional(),
  unpackFactor: z.number().positive().default(1),
})

const group = z.strictObject({
  name: z.string().min(1),
  count,
  device: z.union([z.string(), z.record(z.string(), z.number().positive())]),
  upMbps: z.number().positive(),
  downMbps: z.number().positive(),
  uploadCapMbps: z.number().positive().optional(),
  latencyMs: z.number().min(0).default(0.5),
  holds: z.boolean().default(false),
  joinOverS: seconds.default(0),
  joinAtS: seconds.default(0),
  leave: z
    .strictObject({ fromS: seconds, everyS: z.number().positive(), noticeS: seconds.default(0) })
    .optional(),
  churn: churnSchema.optional(),
  diskGB: z.number().positive().optional(),
  stragglers: z.strictObject({ share, factor: z.number().min(1) }).optional(),
  corrupters: z.strictObject({ share, chunkShare: share.default(0.5) }).optional(),
  liars: z.strictObject({ share }).optional(),
})

const inOrder = ({ fromS, untilS }: { fromS: number; untilS: number }): boolean => untilS > fromS
const BACKWARDS = { error: '`untilS` must be after `fromS`' }

const partition = z
  .strictObject({
    groups: z.array(z.string()).min(1).optional(),
    share: share.default(1),
    fromS: seconds,
    untilS: seconds,
  })
  .refine(inOrder, BACKWARDS)

const loss = z.strictObject({ fromS: seconds, untilS: seconds }).refine(inOrder, BACKWARDS)

const context = z.strictObject({
  count: z.int().min(1).default(1),
  bytesGB: z.number().positive(),
  chunkMB: z.number().positive().default(1.048576),
  unpackS: seconds.default(0),
  memoryGB: z.number().positive().default(4),
  copies: count.default(0),
})

const job = z.strictObject({
  submitter: z.string().default('submitter'),
  submitters: z.int().min(1).default(1),
  atS: seconds.default(0),
  inferences: z.int().min(1),
  context: z.union([z.int().min(0), z.literal('zipf')]).default(0),
  count: z.int().min(1).default(1),
  everyS: seconds.default(0),
})

const work = z.strictObject({
  variation: z.number().min(0).default(0.3),
  empties: z.strictObject({ from: count, count, inferenceS: seconds }).optional(),
  overheadS: z
    .strictObject({ none: seconds, partial: seconds, pervasive: seconds })
    .default({ none: 0, partial: 0, pervasive: 0 }),
})

const loads = z.strictObject({
  contendedShare: share.default(0),
  contendedFactor: z.number().min(1).default(1),
  contendedSigma: z.number().min(0).default(0),
})

const origin = z.strictObject({
  upMbps: z.number().positive(),
  latencyMs: z.number().min(0).default(0.5),
  isThere: z.boolean().default(true),
})

const dht = z.strictObject({
  publishS: seconds.default(0),
  lookupMs: z.number().min(0).default(20),
  lookupSigma: z.number().min(0).default(0),
  success: share.default(1),
  staleS: seconds.default(0),
  answersMax: z.int().min(1).default(96),
})

const shell = z.strictObject({
  startUpS: seconds.default(0),
  hostStartS: seconds.default(0),
  requestMs: z.number().min(0).default(0),
})

export const scenarioSchema: z.ZodType<Scenario> = z.strictObject({
  title: z.string().min(1),
  extends: z.string().optional(),
  horizonS: z.number().positive(),
  stepS: z.number().positive().optional(),
  policy: z.enum(['hearth', 'paper']).default('hearth'),
  mode: z.enum(EVALUATION_MODES).default('pervasive'),
  batch: z.int().min(1).default(100),
  inferencesPerRequest: z.int().min(1).default(1),
  fanOut: z.int().min(1).default(3),
  joins: z.string().optional(),
  contexts: context,
  jobs: z.array(job).min(1),
  zipfExponent: z.number().min(0).default(1),
  work: work.prefault({}),
  loads: loads.prefault({}),
  devices: z.record(z.string(), device),
  peers: z.array(group).min(1),
  origin: origin.prefault({ upMbps: 1000 }),
  dht: dht.prefault({}),
  shell: shell.prefault({}),
  flowTolerance: z.number().min(0).default(0.001),
  partitions: z.array(partition).default([]),
  bootstrapLoss: z.array(loss).default([]),
  losses: z.enum(['closed', 'silent']).default('closed'),
  coordinator: coordinatorConstants.default({}),
  worker: workerConstants.default({}),
  residency: residencyConstants.default({}),
  replication: replicationConstants.default({}),
  replicas: z.int().min(0).max(16).default(0),
  quiet: z.strictObject({ fromS: seconds, boundS: z.number().positive() }).optional(),
})
