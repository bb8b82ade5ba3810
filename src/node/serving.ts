// Assembles the parts of a peer that works for others.
import type { Clock } from '../base/clock.ts'
import { EventLog } from '../base/log/event-log.ts'
import { DECISION_LOG_BYTES_MAX } from '../base/limits.ts'
import type { Logger } from '../base/log/logger.ts'
import type { Random } from '../base/random.ts'
import { ContextSharing } from '../context-sharing/context-sharing.ts'
import { ContextStore } from '../context-sharing/store/context-store.ts'
import { DecisionLog } from '../context-sharing/history/decisions.ts'
import { Origins } from '../context-sharing/origin/origins.ts'
import type { ReplicationOptions } from '../context-sharing/replication/core/replication.ts'
import { Replicator } from '../context-sharing/replication/replicator.ts'
import type { StoreBounds } from '../context-sharing/store/store-room.ts'
import type { UploadRate } from '../context-sharing/upload/upload-gate.ts'
import type { AdvertBody } from '../dht/advert/advert.ts'
import type { DeviceWish } from '../inference/device/device-choice.ts'
import type { Devices } from '../inference/device/device-probe.ts'
import type { EndpointOptions } from '../inference/endpoint/endpoint-options.ts'
import { EngineHost } from '../inference/host/engine-host.ts'
import type { EngineName, FakeTiming } from '../inference/contract/engine.ts'
import { WarmContexts } from '../inference/residency/warm-contexts.ts'
import type { EvaluationMode } from '../tasks/worker/core/worker-state.ts'
import { Worker, WORKER_DEFAULTS } from '../tasks/worker/worker.ts'
import { ContextCare } from './contexts/context-care.ts'
import { ContextPreparer } from './contexts/context-preparer.ts'
import { modelTrial } from './contexts/model-trial.ts'
import { OriginSeekers } from './contexts/origin-seekers.ts'
import { ContextTiers } from './contexts/context-tiers.ts'
import { JobsUsage } from './home/jobs-usage.ts'
import type { DataFolder } from './home/data-folder.ts'
import { Departure } from './contexts/departure.ts'
import { servingAdvert } from './status/peer-advert.ts'
import { AdvertReplicaSwarm } from './contexts/replica-swarm.ts'
import type { SwarmLink } from './swarm-link.ts'

export interface PeerComponents {
  clock: Clock
  random: Random
  log: Logger
}

export interface ServingPeerOptions {
  data: DataFolder
  listen: readonly string[]
  /** Addresses to tell other peers, when they differ from those it listens on. */
  announce?: readonly string[] | undefined
  /** Whether weights may use separate sockets: docs/protocol/direct.md. Default: true. */
  directLane?: boolean
  bootstrap: readonly string[]
  /** Limits of the store; absent fields keep their last value. */
  bounds?: StoreBounds
  /** Upload limits. Default: 70 % of the measured uplink. */
  upload?: { uploadRate?: UploadRate; uploadMonthBytes?: number | undefined }
  /** The swarm to be in; by default the data folder's, the bootstrap peer's, or a new one. */
  swarm?: string | undefined
  /** Default 'pervasive'. The other modes exist for comparison. */
  evaluate?: EvaluationMode | undefined
  engine: {
    engine?: EngineName | undefined
    slots?: number | undefined
    threads?: number | undefined
    /** Whether large contexts answer before their weights are prepared: EngineHostOptions. */
    quickStart?: boolean | undefined
    /** The device that models run on. Default 'auto'. */
    device?: DeviceWish | undefined
    /** The OpenAI-compatible server of this machine, for the engine `openai`. */
    endpoint?: EndpointOptions | undefined
    /** Timing of the engine `fake`. */
    fake?: FakeTiming | undefined
  }
  /** Overrides of REPLICATION_DEFAULTS. */
  replication?: Partial<ReplicationOptions> | undefined
}

const NOBODY_KNOWN = { may: false, others: 0 }
/** Bounds of lines that wait to be written to the decision log: time, ms, and count. */
const DECISIONS_FLUSH_MS = 1000
const DECISIONS_WAITING_MAX = 4096

/** The parts of a serving peer besides its link to the swarm. */
export interface Serving {
  devices: Devices
  data: DataFolder
  jobsUsage: JobsUsage
  events: EventLog
  decisions: DecisionLog
  care: ContextCare
  store: ContextStore
  sharing: ContextSharing
  warm: WarmContexts
  preparer: ContextPreparer
  worker: Worker
  tiers: ContextTiers
  replicator: Replicator
  origins: Origins
  departure: Departure
}

export function createServing(
  { clock, random, log }: PeerComponents,
  link: SwarmLink,
  devices: Devices,
  { data, engine, replication, bounds, upload, evaluate = WORKER_DEFAULTS.evaluate }: ServingPeerOptions,
): Serving {
  const { network } = link
  const events = new EventLog(clock, data.decisionsPath, {
    schema: { log: 'hearth-contexts', version: 1 },
    flushEveryMs: DECISIONS_FLUSH_MS,
    waitingMax: DECISIONS_WAITING_MAX,
    fileBytesMax: DECISION_LOG_BYTES_MAX,
  })
  const decisions = new DecisionLog(clock, events)
  // The fake engine runs without a model.
  const models = engine.engine === 'fake' ? {} : { models: modelTrial({ clock, log }) }
  const jobsUsage = new JobsUsage(clock, data)
  const otherBytes = async (): Promise<number> => (await jobsUsage.size()).bytes
  const store = new ContextStore(
    { clock, log, otherBytes, ...models },
    { folder: data.contextsPath, ...bounds },
  )
  const findHolders = (contextId: string, { signal }: { signal: AbortSignal }): Promise<string[]> =>
    link.view.holders(contextId, signal)
  const parts: { warm?: WarmContexts; replicator?: Replicator } = {}
  const sharing = new ContextSharing(
    {
      network,
      store,
      findHolders,
      clock,
      random,
      log,
      decisions,
      copies: { mayDrop: (contextId) => parts.replicator?.mayDrop(contextId) ?? NOBODY_KNOWN },
      whyLoaded: (contextId) => whyLoaded(parts.warm, contextId),
      onDamaged: (contextId) =>
        void parts.warm?.evict(contextId, 'its files are damaged on disk').catch(() => {}),
    },
    { uploadRate: 'measured', ...upload },
  )
  const { engine: name, slots, threads, quickStart, endpoint, fake } = engine
  const warm = new WarmContexts(
    { clock, makeHost: (options) => new EngineHost({ clock, log }, options) },
    {
      host: {
        ...(name === undefined ? {} : { engine: name }),
        provider: devices.chosen.provider,
        deviceName: devices.chosen.name,
        comparesWithCpu: (engine.device ?? 'auto') === 'auto',
        slots,
        threads,
        quickStart,
        endpoint,
        fake,
      },
    },
  )
  const preparer = new ContextPreparer({
    clock,
    store,
    sharing,
    warm,
    nameInSwarm: (contextId) => link.view.nameOf(contextId),
  })
  const worker = new Worker(
    {
      network,
      clock,
      log,
      prepare: (contextId, options) => preparer.prepare(contextId, options),
      discard: (contextId, options) => preparer.discard(contextId, options),
    },
    { ...WORKER_DEFAULTS, evaluate },
  )
  const { routing, adverts } = link
  const tiers = new ContextTiers({ store, warm, preparer, sharing, worker, routing, log })
  const swarm = new AdvertReplicaSwarm({ board: adverts.board, routing })
  const replicator = new Replicator(
    {
      network,
      store,
      sharing,
      swarm,
      decisions,
      clock,
      random,
      log,
      own: () => tiers.own(),
      onTakes: () => adverts.changed(),
      onCopied: (contextId) => void preparer.takeName(contextId).catch(() => {}),
    },
    // The comparison modes keep only what they are told to.
    { ...replication, isTaking: evaluate === 'pervasive' && replication?.isTaking !== false },
  )
  const origins = new Origins({
    network,
    store,
    swarm: new OriginSeekers({ members: link.members, join: link.join, routing, clock, log }, link.doorCount),
    manifestOf: (contextId, signal) => sharing.manifest(contextId, { signal }),
    clock,
    log,
  })
  const departure = new Departure({ worker, replicator, tiers, adverts, clock, log })
  Object.assign(parts, { warm, replicator })
  const care = new ContextCare({ clock, store, sharing, decisions, preparer, view: link.view })
  return {
    data,
    jobsUsage,
    events,
    decisions,
    devices,
    care,
    store,
    sharing,
    warm,
    preparer,
    worker,
    tiers,
    replicator,
    origins,
    departure,
  }
}

function whyLoaded(warm: WarmContexts | undefined, contextId: string): string | undefined {
  const isLoaded = warm?.list().some((context) => context.contextId === contextId) === true
  return isLoaded ? 'an engine has it loaded' : undefined
}

/** Starts the parts in order and adds their stop functions to `closers`. Calls `onChange` when the advert changes. */
export async function startServing(
  serving: Serving,
  closers: AsyncDisposableStack,
  onChange: () => void,
): Promise<void> {
  const { events, store, sharing, warm, worker, tiers, replicator, origins } = serving
  closers.defer(() => events.close())
  await store.open()
  closers.defer(() => store.close())
  closers.defer(() => warm.stop())
  await sharing.start()
  closers.defer(() => sharing.stop())
  await worker.start()
  closers.defer(() => worker.stop())
  closers.defer(warm.onEvicted(({ contextId, reason }) => worker.forget(contextId, 'unloaded', reason)))
  await replicator.start()
  closers.defer(() => replicator.stop())
  await origins.start()
  closers.defer(() => origins.stop())
  tiers.start(() => {
    replicator.changed()
    onChange()
  })
  closers.defer(() => tiers.stop())
}

/** The current facts for the advert. */
export function describeServing({ worker, tiers, warm, replicator, devices, preparer }: Serving): AdvertBody {
  const slots = warm.list().reduce((sum, { facts }) => sum + (facts?.slots ?? 0), 0)
  const fetched = preparer.fetchBytesPerSecond()
  const body = {
    contexts: tiers.advertised(),
    slots,
    ...(fetched === undefined ? {} : { fetchBytesPerSecond: Math.round(fetched) }),
    replicas: replicator.takes,
  }
  return servingAdvert(body, worker.status(), devices.chosen)
}
