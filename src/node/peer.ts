import { every, type Cancel } from '../base/clock.ts'
import { isHearthError } from '../base/errors.ts'
import type { EventSink } from '../base/log/event-log.ts'
import type { Network } from '../base/stream/network.ts'
import { randomHex } from '../base/system-random.ts'
import type { ImportOptions, ImportResult } from '../context-sharing/store/context-store.ts'
import type { Origins } from '../context-sharing/origin/origins.ts'
import type { RememberedPeer } from '../dht/join/remembered-peers.ts'
import type { AdvertBody } from '../dht/advert/advert.ts'
import { detectDevices, type Devices } from '../inference/device/device-probe.ts'
import { ChurnLog } from './home/churn-log.ts'
import type { ContextCare } from './contexts/context-care.ts'
import type { Departure, DrainOptions, DrainReport } from './contexts/departure.ts'
import { loadOrCreateIdentity, type Identity } from './home/identity.ts'
import { discoverSwarm } from './libp2p/discover.ts'
import { submitterAdvert } from './status/peer-advert.ts'
import type { JoinTrouble, PeerStatus, PeerSummary, StoreStatus } from './status/peer-status.ts'
import {
  type PeerComponents,
  type Serving,
  type ServingPeerOptions,
  createServing,
  startServing,
  describeServing,
} from './serving.ts'
import { SwarmLink } from './swarm-link.ts'
import type { SwarmView } from './contexts/swarm-view.ts'
import { VERSION } from './home/version.ts'
import { whyIdle } from './status/why-idle.ts'

export interface SubmitterOptions {
  identity: Identity
  bootstrap: readonly string[]
  swarm?: string | undefined
  /** Told of peers of the swarm that answered, now and then and at the end. */
  onVisit?: ((swarm: string, peers: readonly RememberedPeer[]) => void) | undefined
}

/** How long a bootstrap peer may take to name its swarm, ms. */
const DISCOVER_MS = 10_000
/** How long joining may take before a job reports that no peer answers, ms. */
const JOIN_MS = 15_000
const MISMATCH_LOOK_EVERY_MS = 100
const SWARM_ID_BYTES = 16

/** One running node of a swarm. The composition root: it reads top to bottom as the list of parts. */
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
    const { identity, bootstrap, onVisit = () => {} } = options
    const swarm = await chooseSwarm(components, options.swarm, bootstrap, undefined)
    const link = await SwarmLink.create(
      { ...components, identity, describe: submitterAdvert, save: async (peers) => onVisit(swarm, peers) },
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

  /** The peers of the swarm that it is connected to. */
  members(): string[] {
    return this.#link.members.list()
  }

  get swarmView(): SwarmView {
    return this.#link.view
  }

  /** Starts to serve; joining continues in the background. Stops started parts when one fails. */
  async start(): Promise<void> {
    const closers = new AsyncDisposableStack()
    this.#closers = closers
    this.#startedAtMs = this.#components.clock.nowMs()
    try {
      if (this.#serving !== undefined)
        await startServing(this.#serving, closers, () => this.#link.adverts.changed())
      if (this.#serving?.data.memory().isPaused === true) this.#serving.worker.setAccepting(false, 'paused')
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
   * Shuts down cleanly by the deadline: `Departure`. Resolves when the peer is ready to be stopped.
   * When called twice, the earlier deadline counts.
   */
  async drain(options: DrainOptions): Promise<DrainReport> {
    return await this.#require().departure.drain(options)
  }

  /** The shutdown, whatever began it. */
  get departure(): Pick<Departure, 'begun' | 'done' | 'status'> {
    return this.#require().departure
  }

  /**
   * Resolves once the DHT can be used. Throws `no-peers` when no peer answers in time, and at once
   * `swarm-mismatch` when the only bootstrap address leads to another swarm.
   */
  async joined(signal?: AbortSignal, deadlineMs: number = JOIN_MS): Promise<void> {
    const { join } = this.#link
    const stop = new AbortController()
    const waiting = join.untilJoined({
      deadlineMs: Math.min(deadlineMs, JOIN_MS),
      signal: AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]),
    })
    const cancelWatch = every(this.#components.clock, MISMATCH_LOOK_EVERY_MS, () => {
      const { lastError } = join.state
      if (this.#link.doorCount === 1 && isHearthError(lastError, 'swarm-mismatch')) stop.abort(lastError)
    })
    await waiting.finally(cancelWatch)
  }

  /** Imports a model folder as a context, advertised from now on. Throws what `ContextStore.import` throws. */
  async addContext(folder: string, options: ImportOptions): Promise<ImportResult> {
    return await this.#require().store.import(folder, options)
  }

  /** Pauses or resumes this peer, also for its next starts. A paused peer takes no work and unloads its contexts. */
  setPaused(isPaused: boolean): void {
    const { data, worker } = this.#require()
    data.remember({ isPaused })
    worker.setAccepting(!isPaused, 'paused')
    this.#link.adverts.changed()
  }

  /** Records which peers join and leave, until the returned function is called. */
  logChurn(sink: EventSink): Cancel {
    const log = new ChurnLog({ board: this.#link.adverts.board, sink })
    log.start()
    return () => log.stop()
  }

  /** The owner's operations on local contexts. */
  get contextCare(): ContextCare {
    return this.#require().care
  }

  /** Coordinates hub downloads with the swarm. */
  get origins(): Pick<Origins, 'want' | 'release'> {
    return this.#require().origins
  }

  /** Whom it reaches, and why the last attempt to join reached nobody. */
  joinTrouble(): JoinTrouble {
    return { connectedPeers: this.#link.members.list().length, error: this.#link.join.state.lastError }
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

  /** Disk use of its contexts and jobs. */
  async storeStatus(): Promise<StoreStatus> {
    const { store, data, jobsUsage } = this.#require()
    const pinned = store.list().filter(({ isPinned }) => isPinned)
    const pinnedBytes = pinned.reduce((sum, { bytes }) => sum + bytes, 0)
    const keepDays = Number.isFinite(data.keepJobsDays) ? data.keepJobsDays : null
    const jobs = { ...(await jobsUsage.size()), keepDays }
    return { ...(await store.room.usage()), pinnedBytes, jobs }
  }

  /** The other members; asks again for adverts that are old. */
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

  #require(): Serving {
    if (this.#serving === undefined) throw new TypeError('a submitter has no contexts')
    return this.#serving
  }
}

/** The requested swarm, else that of the data folder, else the bootstrap peer's, else a new one. */
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
      log.info({ address }, 'a bootstrap peer did not name its swarm; asking the next')
    }
  }
  return randomHex(SWARM_ID_BYTES)
}

function devicesNotUsed({ probes }: Devices): PeerStatus['devicesNotUsed'] {
  return probes.flatMap(({ provider, isUsable, why = '' }) => (isUsable ? [] : [{ provider, why }]))
}
