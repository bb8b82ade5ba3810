import type {
  ReplicationEffect,
  ReplicationEvent,
} from '../../../src/context-sharing/replication/core/replication.ts'
import type { Candidate } from '../../../src/tasks/submitter/core/candidate.ts'
import type { LeaseKey } from '../../../src/tasks/wire/task-messages.ts'
import type { WorkerOptions } from '../../../src/tasks/worker/core/worker-state.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { RandomStreams } from '../../kernel/random-streams.ts'
import type { FairFlows } from '../../network/fair-flows.ts'
import type { Scenario } from '../../scenarios/schema.ts'
import type { Advertiser, Adverts } from '../overlay/adverts.ts'
import type { Bootstrap } from '../overlay/bootstrap.ts'
import type { Checks } from './checks.ts'
import type { CopiesLedger } from './copies-ledger.ts'
import type { PeerDevice } from './device.ts'
import type { Directory } from '../overlay/directory.ts'
import type { RunFacts } from '../events/run-facts.ts'
import type { Host } from './host.ts'
import type { HostView } from './host-view.ts'
import type { PaperTree } from './paper-tree.ts'
import type { TaskLink, WorkerEnd } from './task-link.ts'
import type { Workload } from './workload.ts'

export type PeerState = 'down' | 'up' | 'frozen'

/** A peer as the rest of the world sees it. */
export interface PeerView extends WorkerEnd {
  readonly id: string
  readonly host: Host
  readonly device: PeerDevice
  readonly state: PeerState
  readonly hasJoined: boolean
  /** Whether its end of a link is there. */
  holdsLink(link: TaskLink): boolean
  /** Whether all that a run needs is here. */
  mayRun(context: number): boolean
}

/** The replication of one peer, as others see it. */
export interface KeeperView extends Advertiser {
  /** Another asks it to take a copy. */
  offered(
    offer: Extract<ReplicationEvent, { kind: 'offered' }>,
    from: Advertiser,
  ): readonly ReplicationEffect[]
}

/** A job as the world sees it. */
export interface JobView {
  readonly id: string
  readonly number: number
  readonly tag: number
  readonly context: number
  readonly workload: Workload
}

/** The work of a committed request; `facts` is undefined where its run is not recorded. */
export interface Committed {
  inferences: number
  facts: RunFacts | undefined
}

/** The surroundings of peers and jobs. */
export interface Swarm {
  readonly kernel: Kernel
  readonly scenario: Scenario
  readonly streams: RandomStreams
  readonly flows: FairFlows
  readonly directory: Directory
  readonly tree: PaperTree
  readonly checks: Checks
  readonly ledger: CopiesLedger
  /** Undefined where no copies are kept. */
  readonly adverts: Adverts | undefined
  readonly origin: Host
  readonly bootstrap: Bootstrap
  readonly faults: { corruptChunks: number; bans: number }
  readonly contextBytes: number
  /** Options of core/worker, the same for all peers. */
  readonly workerOptions: WorkerOptions
  contextId(context: number): string
  contextNumbered(contextId: string): number
  chunkBytes(context: number): Uint32Array
  workloadOf(job: number): Workload
  peerNamed(name: string): PeerView
  hostNamed(id: string): HostView
  keeperOf(name: string): KeeperView | undefined
  /** Whether the network lets two peers talk. */
  reaches(one: number, other: number): boolean
  candidateOf(peer: number, context: number): Candidate
  findHolders(context: number, host: HostView, onFound: (hosts: HostView[]) => void): void
  countBytes(from: HostView, bytes: number): void
  /** A peer's advert has changed: submitters that are connected to it hear that. */
  announce(peer: PeerView): void
  /** A peer that was told to leave is gone before it had to be. */
  onLeft(): void
  /** The peer's end of a link is gone; the submitter's end sees that at once, or by silence. */
  breakLink(link: TaskLink, isSilent: boolean): void
  onCommitted(job: JobView, peer: WorkerEnd, key: LeaseKey, committed: Committed): void
  onJobEnded(job: JobView): void
}
