import { every, type Cancel, type Clock } from '../base/clock.ts'
import { isHearthError } from '../base/errors.ts'
import type { EventSink } from '../base/event-log.ts'
import { EventLog } from '../base/event-log.ts'
import { DECISION_LOG_BYTES_MAX } from '../base/limits.ts'
import type { Logger } from '../base/logger.ts'
import type { Network } from '../base/network.ts'
import type { Random } from '../base/random.ts'
import { randomHex } from '../base/system-random.ts'
import { ContextSharing } from '../context-sharing/context-sharing.ts'
import { ContextStore, type ImportOptions, type ImportResult } from '../context-sharing/context-store.ts'
import { DecisionLog } from '../context-sharing/decisions.ts'
import type { StoreBounds } from '../context-sharing/store-room.ts'
import type { UploadRate } from '../context-sharing/upload-gate.ts'
import { Replicator } from '../context-sharing/replicator.ts'
import type { ReplicationOptions } from '../context-sharing/replication-core.ts'
import type { AdvertBody } from '../dht/advert.ts'
import type { DeviceWish } from '../inference/device-choice.ts'
import { detectDevices, type Devices } from '../inference/device-probe.ts'
import type { EndpointOptions } from '../inference/endpoint/endpoint-options.ts'
import type { EngineName, FakeTiming } from '../inference/engine.ts'
import { EngineHost } from '../inference/engine-host.ts'
import { WarmContexts } from '../inference/warm-contexts.ts'
import type { EvaluationMode } from '../tasks/worker-state-core.ts'
import { Worker, WORKER_DEFAULTS } from '../tasks/worker.ts'
import { ChurnLog } from './churn-log.ts'
import { ContextCare } from './context-care.ts'
import { ContextPreparer } from './context-preparer.ts'
import { ContextTiers } from './context-tiers.ts'
import type { DataFolder } from './data-folder.ts'
import { Departure, type DrainOptions, type DrainReport } from './departure.ts'
import { loadOrCreateIdentity, type Identity } from './identity.ts'
import { discoverSwarm } from './libp2p-discover.ts'
import { servingAdvert, submitterAdvert } from './peer-advert.ts'
import type { PeerStatus, PeerSummary } from './peer-status.ts'
import { AdvertReplicaSwarm } from './replica-swarm.ts'
import { SwarmLink } from './swarm-link.ts'
import type { SwarmView } from './swarm-view.ts'
import { VERSION } from './version.ts'
import { whyIdle } from './why-idle.ts'

export interface PeerComponents {
  clock: Clock
  random: Random
  log: Logger
}

export interface ServingPeerOptions {
  data: DataFolder
  listen: readonly string[]
  /** Where others reach this peer, when that is not where it listens. */
  announce?: readonly string[] | undefined
  /** Whether weights may go over sockets of their own: docs/protocol/direct.md. Default: true. */
  directLane?: boolean
  bootstrap: readonly string[]
  /** How much the store may take; what is not given stays as it was. */
  bounds?: StoreBounds
  /** Caps on what is sent to others. Default: 70 % of the measured uplink. */
  upload?: { uploadRate?: UploadRate; uploadMonthBytes?: number | undefined }
  /** The swarm to be in; by default the data folder's, the bootstrap peer's, or a new one. */
  swarm?: string | undefined
  /** Default 'pervasive'. The others are there to be compared with. */
  evaluate?: EvaluationMode | undefined
  engine: {
    engine?: EngineName | undefined
    slots?: number | undefined
    threads?: number | undefined
    /** What models run on. Default 'auto'. */
    device?: DeviceWish | undefined
    /** The OpenAI-compatible server of this machine, for the engine `openai`. */
    endpoint?: EndpointOptions | undefined
    /** Of the engine `fake`. */
    fake?: FakeTiming | undefined
  }
  /** Parts of REPLICATION_DEFAULTS that are other for this peer. */
  replication?: Partial<ReplicationOptions> | undefined
}

export interface SubmitterOptions {
  identity: Identity
  bootstrap: readonly string[]
  swarm?: string | undefined
}

/** How long a bootstrap peer may take to say which swarm it is of, ms. */
const DISCOVER_MS = 10_000
/** How long joining may take before a job says that nobody is there, ms. */
const JOIN_MS = 15_000
const MISMATCH_LOOK_EVERY_MS = 100
const SWARM_ID_BYTES = 16
const NOBODY_KNOWN = { may: false, others: 0 }
/** What waits to be written to the log of decisions: for so long, and so many lines. */
const DECISIONS_FLUSH_MS = 1000
const DECISIONS_WAITING_MAX = 4096

/** What a serving peer has beside its link to the swarm. */
interface Serving {
  devices: Devices
  data: DataFolder
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
  departure: Departure
}

/** One running node of a swarm: the composition root. Reads from top to bottom as what a peer is made of. */
export class Peer {
  readonly swarm: string
  readonly #components: PeerComponents
  readonly #link: SwarmLink
  readonly #serving: Serving | undefined
  #closers = new AsyncDisposableStack()
  #startedAtMs = 0

  /** A peer that works for others: it has a data folder, contexts and engines. */
  static async createServing(components: PeerComponents, options: ServingPeerOptions): Promise<Peer> {
    const { data, listen, announce = [], bootstrap, directLane = true } = options
    data.create()
    const memory = data.memory()
    const [swarm, devices] = await Promise.all([
      chooseSwarm(components, options.swarm, bootstrap, memory.swarm),
      detectDevices(components.clock, { wish: options.engine.device }),
    ])
    components.log.info({ ...devices }, 'devices')
    data.remember({ swarm })
    const identity = await loadOrCreateIdentity(data.identityPath)
    let describe: () => AdvertBody = () => submitterAdvert()
    const link = await SwarmLink.create(
      {
        ...components,
        identity,
        describe: () => describe(),
        save: (peers) => Promise.resolve(data.remember({ peers: [...peers] })),
      },
      {
        swarm,
        listen,
        announce,
        directLane,
        bootstrap,
        remembered: memory.peers ?? [],
        agentVersion: VERSION,
      },
    )
    const serving = createServing(components, link, devices, options)
    describe = () => describeServing(serving)
    return new Peer(components, swarm, link, serving)
  }

  /** A peer that only submits: it listens nowhere and keeps nothing for others. */
  static async createSubmitter(components: PeerComponents, options: SubmitterOptions): Promise<Peer> {
    const { identity, bootstrap } = options
    const swarm = await chooseSwarm(components, options.swarm, bootstrap, undefined)
    const link = await SwarmLink.create(
      { ...components, identity, describe: submitterAdvert, save: () => Promise.resolve() },
      { swarm, listen: [], bootstrap, remembered: [], dhtMode: 'client', mdns: false, agentVersion: VERSION },
    )
    return new Peer(components, swarm, link, undefined)
  }

  private constructor(
    components: PeerComponents,
    swarm: string,
    link: SwarmLink,
    serving: Serving | undefined,
  ) {
    this.#components = components
    this.swarm = swarm
    this.#link = link
    this.#serving = serving
  }

  get peerId(): string {
    return this.#link.network.self
  }

  get addresses(): string[] {
    return this.#link.addresses
  }

  get network(): Network {
    return this.#link.network
  }

  get swarmView(): SwarmView {
    return this.#link.view
  }

  /** Serves from now on; joining goes on in the background. Unwinds what it began when a part fails. */
  async start(): Promise<void> {
    const closers = new AsyncDisposableStack()
    this.#closers = closers
    this.#startedAtMs = this.#components.clock.nowMs()
    try {
      if (this.#serving !== undefined) await this.#startServing(this.#serving, closers)
      await this.#link.start()
      closers.defer(() => this.#link.stop())
      this.#serving?.tiers.changed()
      const { port } = this.#link
      if (port !== undefined) this.#serving?.data.remember({ port })
    } catch (error) {
      await closers.disposeAsync()
      throw error
    }
  }

  async stop(): Promise<void> {
    await this.#closers.disposeAsync()
  }

  /**
   * Leaves in peace, by the deadline: `Departure`. Resolves when the peer is ready to be stopped; the
   * earlier deadline counts when it is asked twice.
   */
  async drain(options: DrainOptions): Promise<DrainReport> {
    return await this.#require().departure.drain(options)
  }

  /** Its leaving, whoever asked for that. */
  get departure(): Pick<Departure, 'begun' | 'done' | 'status'> {
    return this.#require().departure
  }

  /**
   * Resolves once the DHT can be used. Throws `no-peers` when nobody answers in time, and at once
   * `swarm-mismatch` when the only address to join through leads to another swarm.
   */
  async joined(signal?: AbortSignal): Promise<void> {
    const { join } = this.#link
    const stop = new AbortController()
    const waiting = join.untilJoined({
      deadlineMs: JOIN_MS,
      signal: AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]),
    })
    const cancelWatch = every(this.#components.clock, MISMATCH_LOOK_EVERY_MS, () => {
      const { lastError } = join.state
      if (this.#link.doorCount === 1 && isHearthError(lastError, 'swarm-mismatch')) stop.abort(lastError)
    })
    await waiting.finally(cancelWatch)
  }

  /** Imports a model folder as a context, advertised from now on. Throws `context-invalid` or `disk-full`. */
  async addContext(folder: string, options: ImportOptions): Promise<ImportResult> {
    return await this.#require().store.import(folder, options)
  }

  /** Whether this peer takes work; `reason` is the code that others see. */
  setAccepting(accepts: boolean, reason: string): void {
    this.#require().worker.setAccepting(accepts, reason)
    this.#link.adverts.changed()
  }

  /** Writes down who comes and goes, from now until the returned function is called. */
  logChurn(sink: EventSink): Cancel {
    const log = new ChurnLog({ board: this.#link.adverts.board, sink })
    log.start()
    return () => log.stop()
  }

  /** What the owner does with the contexts that are here. */
  get contextCare(): ContextCare {
    return this.#require().care
  }

  status(): PeerStatus {
    const { worker, tiers, replicator, devices } = this.#require()
    const { joined, routingTableSize, lastError } = this.#link.join.state
    const connectedPeers = this.#link.members.list().length
    const tasks = worker.status()
    const contexts = tiers.list()
    return {
      peerId: this.peerId,
      swarm: this.swarm,
      version: VERSION,
      addresses: this.addresses,
      uptimeMs: Math.round(this.#components.clock.nowMs() - this.#startedAtMs),
      joined,
      routingTableSize,
      connectedPeers,
      device: devices.chosen,
      devicesNotUsed: devicesNotUsed(devices),
      contexts,
      replication: replicator.status(),
      tasks,
      idle: whyIdle({ tasks, connectedPeers, contexts, joinError: lastError }),
    }
  }

  /** The other members, asked for their adverts where those known are old. */
  async peers(): Promise<PeerSummary[]> {
    const adverts = await this.#link.view.members(new AbortController().signal)
    return adverts.map((advert) => ({
      peerId: advert.peer,
      agent: advert.agent,
      contexts: advert.contexts.map(({ name, contextId, tier, numericClass, tokensPerSecond }) => ({
        name,
        contextId,
        tier,
        numericClass,
        tokensPerSecond,
      })),
      device: advert.device,
      slots: advert.slots,
      accepts: advert.serving.accepts,
      reason: advert.serving.reason,
    }))
  }

  async #startServing(serving: Serving, closers: AsyncDisposableStack): Promise<void> {
    const { events, store, sharing, warm, worker, tiers, replicator } = serving
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
    tiers.start(() => {
      replicator.changed()
      this.#link.adverts.changed()
    })
    closers.defer(() => tiers.stop())
  }

  #require(): Serving {
    if (this.#serving === undefined) throw new TypeError('a submitter has no contexts')
    return this.#serving
  }
}

function createServing(
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
  const store = new ContextStore({ clock, log }, { folder: data.contextsPath, ...bounds })
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
    },
    { uploadRate: 'measured', ...upload },
  )
  const { engine: name, slots, threads, endpoint, fake } = engine
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
    // The modes to be compared with keep no more than they are told to.
    { ...replication, isTaking: evaluate === 'pervasive' && replication?.isTaking !== false },
  )
  const departure = new Departure({ worker, replicator, tiers, adverts, clock, log })
  Object.assign(parts, { warm, replicator })
  const care = new ContextCare({ store, sharing, decisions, preparer, view: link.view })
  return {
    data,
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
    departure,
  }
}

function whyLoaded(warm: WarmContexts | undefined, contextId: string): string | undefined {
  const isLoaded = warm?.list().some((context) => context.contextId === contextId) === true
  return isLoaded ? 'an engine has it loaded' : undefined
}

/** The swarm asked for, else that of the data folder, else the bootstrap peer's, else one of our own. */
async function chooseSwarm(
  { clock, log }: PeerComponents,
  asked: string | undefined,
  bootstrap: readonly string[],
  remembered: string | undefined,
): Promise<string> {
  if (asked !== undefined) return asked
  if (remembered !== undefined) return remembered
  for (const [index, address] of bootstrap.entries()) {
    try {
      return await discoverSwarm(address, { clock, deadlineMs: DISCOVER_MS })
    } catch (error) {
      if (index === bootstrap.length - 1) throw error
      log.info({ address }, 'a bootstrap peer did not say which swarm it is of; asking the next')
    }
  }
  return randomHex(SWARM_ID_BYTES)
}

function describeServing({ worker, tiers, warm, replicator, devices, preparer }: Serving): AdvertBody {
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

function devicesNotUsed({ probes }: Devices): PeerStatus['devicesNotUsed'] {
  return probes.flatMap(({ provider, isUsable, why = '' }) => (isUsable ? [] : [{ provider, why }]))
}
