import type { ReplicationStatus } from '../../context-sharing/replication/replication-status.ts'
import type { StoreUsage } from '../../context-sharing/store/store-room.ts'
import type { AdvertBody } from '../../dht/advert/advert.ts'
import type { Device } from '../../inference/device/device-choice.ts'
import type { Refusal } from '../../tasks/submitter/core/candidate-book.ts'
import type { WorkerStatus } from '../../tasks/worker/worker.ts'

/** Where a context is on this peer; `warm` is loaded, `loading` is about to be. */
export interface ContextStatus {
  contextId: string
  names: string[]
  tier: 'partial' | 'stored' | 'loading' | 'warm'
  /** Part of the bytes that are here, in [0, 1]. */
  share: number
  bytes: number
  /** Whether it is protected from deletion to make room. */
  isPinned: boolean
  /** Whether it is being fetched now. */
  isFetching: boolean
  /** Whether jobs run on it here now. */
  isBusy: boolean
  /** Verified bytes of this context that came from each peer since this peer started. */
  fetchedFrom: { peer: string; bytes: number }[]
  engine: string | undefined
  /** The execution provider of onnxruntime, such as 'cpu' or 'webgpu', while it is loaded. */
  provider: string | undefined
  /** Peers of the same numeric class give bit-equal results. Known while the context is loaded. */
  numericClass: string | undefined
  slots: number | undefined
  /** Measured in the work done here, all slots together; undefined before there was enough of it. */
  tokensPerSecond?: number | undefined
  /** From its files on disk to loaded, measured, ms. */
  loadMs?: number | undefined
}

/** A peer as its owner sees it: `hearth status`. */
export interface PeerStatus {
  peerId: string
  swarm: string
  version: string
  addresses: string[]
  uptimeMs: number
  /** Whether this peer is in the DHT, and how many peers it knows there. */
  joined: boolean
  routingTableSize: number
  /** Peers of the swarm that it is connected to. */
  connectedPeers: number
  /** The device that models run on. */
  device: Device
  /** Execution providers that were tried and do not work here, and why. */
  devicesNotUsed: { provider: string; why: string }[]
  contexts: ContextStatus[]
  /** Which spare copies it takes, and how many copies there are of what it has. */
  replication: ReplicationStatus
  tasks: WorkerStatus
  /** Why it has no work; undefined while it has some. */
  idle: Refusal | undefined
}

/** Disk use of the contexts on this machine, and its limits. */
export interface StoreStatus extends StoreUsage {
  /** Bytes of pinned contexts; a file that several share counts for each. */
  pinnedBytes: number
  /** Jobs of this data folder; their bytes are part of `usedBytes`. A finished one is kept so long; null: for ever. */
  jobs: { count: number; bytes: number; keepDays: number | null }
}

/** The answer of `GET /v0/status`. */
export interface PeerReport extends PeerStatus {
  store: StoreStatus
}

/** Another peer as this one knows it: `hearth peers`. */
export interface PeerSummary {
  peerId: string
  agent: string
  contexts: {
    name: string
    contextId: string
    tier: string
    numericClass?: string | undefined
    tokensPerSecond?: number | undefined
  }[]
  device: AdvertBody['device']
  slots: number
  accepts: boolean
  reason: string | undefined
}

/** Connected members, and the error of the last attempt to join, if it failed. */
export interface JoinTrouble {
  connectedPeers: number
  error: Error | undefined
}
