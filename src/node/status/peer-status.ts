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
  /** It is not dropped to make room. */
  isPinned: boolean
  /** It is being fetched now. */
  isFetching: boolean
  /** Jobs run on it here now. */
  isBusy: boolean
  /** Verified bytes of this context that came from each peer since this peer started. */
  fetchedFrom: { peer: string; bytes: number }[]
  engine: string | undefined
  /** What onnxruntime runs it on, as 'cpu' or 'webgpu', while it is loaded. */
  provider: string | undefined
  /** Of its results: bit-equal to those of every peer with the same. Known while it is loaded. */
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
  /** What models run on. */
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

/** What the contexts on this machine take of its disk, and may take. */
export interface StoreStatus extends StoreUsage {
  /** Of contexts that are not dropped to make room; files that several have are counted for each. */
  pinnedBytes: number
}

/** What `GET /v0/status` answers. */
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
