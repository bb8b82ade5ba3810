/*
 * The contents of run.json: plain data that suffices for reports, comparisons and checks.
 * Times in seconds of virtual time since the run began, bytes in bytes, work in inferences.
 */

export const RUN_RESULT_VERSION = 3

export type ParameterValue = string | number | boolean

export interface RunResult {
  version: typeof RUN_RESULT_VERSION
  /** The scenario's name, and what it is in one line. */
  scenario: string
  title: string
  seed: number
  /** The settings that --set changed. */
  parameters: Record<string, ParameterValue>
  /** sha-256 of the scenario after --set: two runs with the same one and the same seed are the same run. */
  scenarioHash: string
  /** sha-256 of the code that ran. */
  codeHash: string
  node: string
  /** Real seconds that the run took; nothing else here depends on the machine. */
  wallS: number
  events: number
  /** The hash of every event in order: the same seed gives the same hash. */
  eventHash: string
  /** Whether all jobs ended before the horizon. */
  isComplete: boolean
  /** When the last job ended; the horizon when one did not. */
  makespanS: number
  /** The part of that for the last 0.3 % of the work; undefined when it was not all done. */
  tailS?: number
  work: WorkCount
  jobs: JobResult[]
  peers: PeerResult[]
  /** Sum over `peers`. */
  gpuS: GpuSeconds
  /** How long requests ran where they ran to their end, load included where it is paid per request. */
  tasks: TaskTimes
  bytes: ByteCount
  /** Chunks that came wrong, and how often a peer was banned for them. */
  faults: { corruptChunks: number; bans: number }
  /** Copies that peers made for the sake of copies. */
  copiesMade: number
  /** Those that a peer held at some time. */
  contexts: ContextResult[]
  series: Series
  checks: CheckVerdict[]
}

export interface WorkCount {
  /** Inferences asked for, and done: each counts once. */
  total: number
  completed: number
  /** GPU time of work that was not committed, in inferences of mean length. */
  wasted: number
  /** Inferences that became an error line. */
  failed: number
}

export interface JobResult {
  job: string
  contextId: string
  submittedAtS: number
  /** Undefined when it did not end. */
  endedAtS?: number
  inferences: number
  completed: number
  /** Why the coordinator gave up, where it did. */
  gaveUp?: string
}

/** Where a peer's GPU-seconds went while it was up; the parts add up to `up`. */
export interface GpuSeconds {
  up: number
  useful: number
  /** Loading a model, unpacking its environment included. */
  load: number
  /** Waiting for a context's bytes. */
  transfer: number
  /** Work that was lost: killed with its peer, cancelled, or beaten by another copy. */
  wasted: number
  idle: number
}

export interface PeerResult {
  peer: string
  /** The GPU's model. */
  device: string
  group: string
  gpuS: GpuSeconds
  inferences: number
  /** Times that it came up. */
  sessions: number
  /** Contexts loaded, and of these how many had to be fetched first. */
  loads: number
  fetches: number
  bytesReceived: number
  bytesSent: number
  /** From coming up for the first time to the first result, where there was one. */
  firstResultAfterS?: number
}

export interface TaskTimes {
  count: number
  meanS: number
  sdS: number
  minS: number
  p50S: number
  p95S: number
  p99S: number
  maxS: number
}

export interface ByteCount {
  /** Received, by where they came from. */
  fromOrigin: number
  fromPeers: number
  /** Received and of no use: their peer went before its context was whole, or a chunk came twice. */
  wasted: number
  /** Received for copies that no job had asked for. */
  forCopies: number
}

export interface ContextResult {
  contextId: string
  bytes: number
  /** Since a peer first held it whole: the share of time in which at least one that was up did. */
  availability: number
  meanReplicas: number
}

/** Columns of the same length, one row per `stepS`. */
export interface Series {
  stepS: number
  timeS: number[]
  livePeers: number[]
  /** Peers with the context of a job loaded that submitters can reach. */
  readyPeers: number[]
  /** Inferences committed so far. */
  completed: number[]
  /** Peers that are up and hold it whole, of the first context. */
  replicas: number[]
  bytesFromOrigin: number[]
  bytesFromPeers: number[]
}

export interface CheckVerdict {
  check: string
  holds: boolean
  /** The finding, in words for people. */
  detail: string
}
