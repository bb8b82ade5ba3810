import { CONNECTIONS_MAX } from '../../src/base/limits.ts'
import { randomInteger } from '../../src/base/random.ts'
import type { EventSink } from '../../src/base/log/event-log.ts'
import { ALIVE_EVERY_MS, PEER_SILENCE_MS } from '../../src/tasks/wire/timings.ts'
import type { Candidate } from '../../src/tasks/submitter/core/candidate.ts'
import type { LeaseKey } from '../../src/tasks/wire/task-messages.ts'
import { WORKER_CORE_DEFAULTS, type WorkerOptions } from '../../src/tasks/worker/core/worker-state.ts'
import { Kernel } from '../kernel/kernel.ts'
import { mix } from '../kernel/mix.ts'
import { RandomStreams } from '../kernel/random-streams.ts'
import { FairFlows } from '../network/fair-flows.ts'
import type { PeerGroup, Scenario } from '../scenarios/schema.ts'
import { Adverts } from './overlay/adverts.ts'
import { Checks } from './swarm/checks.ts'
import { Bootstrap } from './overlay/bootstrap.ts'
import { CopiesLedger } from './swarm/copies-ledger.ts'
import { deviceOf } from './swarm/device.ts'
import { Directory } from './overlay/directory.ts'
import { Fates } from './fates.ts'
import { Host } from './swarm/host.ts'
import type { HostView } from './swarm/host-view.ts'
import type { JobRun } from './job-run.ts'
import { planJobs } from './jobs-plan.ts'
import { Partitions } from './overlay/partition.ts'
import { PaperTree } from './swarm/paper-tree.ts'
import { Peer } from './peer/peer.ts'
import type { ReplicaKeeper } from './peer/replica-keeper.ts'
import { SeriesRecorder } from './series-recorder.ts'
import { Shelf } from './swarm/shelf.ts'
import { TAG } from './events/tags.ts'
import type { Committed, JobView, PeerView, Swarm } from './swarm/swarm.ts'
import type { TaskLink, WorkerEnd } from './swarm/task-link.ts'
import type { TaskRecorder } from './task-recorder.ts'
import type { Workload } from './swarm/workload.ts'

const ORIGIN = 'origin'
/** The last of the work, which waits for the slowest. */
const TAIL_SHARE = 0.003
/** After all that happens at time 0; churn comes in whole milliseconds. */
const PLACED_US = 500

export interface WorldOptions {
  seed: number
  tasks: TaskRecorder
  /** Where the events of each job go; nowhere when undefined. */
  eventsOf: ((job: string, requests: number) => EventSink) | undefined
}

/** A whole swarm on virtual time: peers, submitters, the lines between them, and what befalls them. */
export class World implements Swarm {
  readonly kernel: Kernel = new Kernel()
  readonly scenario: Scenario
  readonly streams: RandomStreams
  readonly flows: FairFlows
  readonly directory: Directory
  readonly tree: PaperTree
  readonly checks: Checks = new Checks()
  readonly ledger: CopiesLedger
  readonly adverts: Adverts | undefined
  readonly origin: Host
  readonly peers: Peer[] = []
  readonly jobs: JobRun[]
  readonly contextBytes: number
  readonly workerOptions: WorkerOptions
  readonly series: SeriesRecorder
  readonly #options: WorldOptions
  readonly #lengths: Uint32Array
  /** All of a context, from the start: nothing of it changes, so all hosts share it. */
  readonly #wholeShelf: Shelf
  readonly #contextIds: string[]
  readonly #contextNumbers = new Map<string, number>()
  readonly #byName = new Map<string, Peer>()
  readonly bootstrap: Bootstrap
  readonly faults: { corruptChunks: number; bans: number } = { corruptChunks: 0, bans: 0 }
  readonly #partitions: Partitions
  readonly bytes: { fromOrigin: number; fromPeers: number } = { fromOrigin: 0, fromPeers: 0 }
  readonly #fates: Fates
  readonly #runningJobs = new Set<JobRun>()
  #endedJobs = 0
  readonly #inferences: number
  #committedInferences = 0
  /** When all but TAIL_SHARE of all work was done. */
  tailFromUs: number | undefined

  constructor(scenario: Scenario, options: WorldOptions) {
    this.scenario = scenario
    this.workerOptions = { ...WORKER_CORE_DEFAULTS, evaluate: scenario.mode, ...scenario.worker }
    this.#options = options
    this.streams = new RandomStreams(options.seed)
    this.flows = new FairFlows(this.kernel, scenario.flowTolerance)
    this.directory = new Directory(this.kernel, scenario.dht, this.streams.of('swarm', 'directory'))
    this.tree = new PaperTree(this.flows, scenario.fanOut, (from, bytes) => this.countBytes(from, bytes))
    this.ledger = new CopiesLedger(this.kernel)
    this.adverts = keepsCopies(scenario)
      ? new Adverts(this.kernel, this.streams.of('swarm', 'adverts'), (one, other) =>
          this.reaches(one, other),
        )
      : undefined
    this.bootstrap = new Bootstrap(scenario.bootstrapLoss, () => this.kernel.nowS)
    this.#partitions = new Partitions(
      this.streams,
      () => this.peers,
      () => this.#onParted(),
    )
    this.contextBytes = scenario.contexts.bytesGB * 1e9
    this.#lengths = chunkLengths(this.contextBytes, scenario.contexts.chunkMB * 1e6)
    this.#wholeShelf = new Shelf(this.#lengths.length, true)
    this.#contextIds = Array.from({ length: scenario.contexts.count }, (_, number) => `context-${number}`)
    for (const [number, id] of this.#contextIds.entries()) this.#contextNumbers.set(id, number)
    this.origin = this.#makeOrigin()
    this.jobs = planJobs(this, options.eventsOf)
    this.#inferences = this.jobs.reduce((sum, { workload }) => sum + workload.inferences, 0)
    this.#fates = new Fates(this, (group, number) => this.#makePeer(group, number))
    this.#fates.play()
    this.series = new SeriesRecorder(this)
  }

  /** Runs until all jobs have ended, or to the horizon. */
  run(): void {
    this.#partitions.schedule(this.kernel, this.scenario.partitions)
    if (this.scenario.contexts.copies > 0) this.kernel.at(PLACED_US, TAG.fault, () => this.#placeCopies())
    for (const job of this.jobs) {
      this.kernel.at(job.submittedUs, TAG.job + job.tag, () => {
        this.#runningJobs.add(job)
        job.start()
      })
    }
    this.series.start()
    this.kernel.run(0)
    this.series.begin()
    this.kernel.run(this.scenario.horizonS * 1e6)
    this.series.end()
    for (const peer of this.peers) peer.settle()
  }

  get isComplete(): boolean {
    return this.#endedJobs === this.jobs.length && this.jobs.every((job) => job.hasFinished)
  }

  contextId(context: number): string {
    return this.#contextIds[context] as string
  }

  contextNumbered(contextId: string): number {
    return this.#contextNumbers.get(contextId) as number
  }

  workloadOf(job: number): Workload {
    return (this.jobs[job] as JobRun).workload
  }

  peerNamed(name: string): Peer {
    return this.#byName.get(name) as Peer
  }

  hostNamed(id: string): HostView {
    return id === ORIGIN ? this.origin : this.peerNamed(id).host
  }

  keeperOf(name: string): ReplicaKeeper | undefined {
    return this.#byName.get(name)?.keeper
  }

  reaches(one: number, other: number): boolean {
    return this.peers[one]?.host.side === this.peers[other]?.host.side
  }

  chunkBytes(_context: number): Uint32Array {
    return this.#lengths
  }

  countBytes(from: HostView, bytes: number): void {
    if (from === this.origin) this.bytes.fromOrigin += bytes
    else this.bytes.fromPeers += bytes
  }

  findHolders(context: number, host: HostView, onFound: (hosts: HostView[]) => void): void {
    if (host.side !== 0) {
      // Those that are cut off find one another still.
      const there = this.#partitions.on(host.side).map((number) => (this.peers[number] as Peer).host)
      const found = there.filter((other) => other.mayServe(context))
      return void this.kernel.after(this.scenario.dht.lookupMs * 1000, TAG.directory, () => onFound(found))
    }
    this.directory.holders(context, host.tag, (numbers) => {
      const hosts = numbers.map((number) => (this.peers[number] as Peer).host)
      onFound(this.scenario.origin.isThere ? [this.origin, ...hosts] : hosts)
    })
  }

  candidateOf(number: number, context: number): Candidate {
    const tier = this.directory.tierOf(number, context)
    const { id, isLeaving } = this.peers[number] as Peer
    // The origin holds every context: whoever has nothing of one can fetch it.
    return {
      peer: id,
      tier: tier === 'absent' ? this.#coldTier() : tier,
      accepts: !isLeaving,
      reason: isLeaving ? 'draining' : undefined,
    }
  }

  announce(peer: PeerView): void {
    if (peer.host.side !== 0 || !peer.hasJoined) return
    for (const job of this.#runningJobs) {
      if (!this.#areConnected(job, peer)) continue
      this.kernel.after(
        this.scenario.dht.publishS * 1e6 + peer.host.latencyUs,
        TAG.directory + job.tag,
        () => {
          if (peer.state === 'up') job.hear({ ...this.candidateOf(peer.number, job.context), isHere: true })
        },
      )
    }
  }

  onLeft(): void {
    this.#fates.liveCount -= 1
  }

  breakLink(link: TaskLink, isSilent: boolean): void {
    const { submitter, latencyUs } = link
    const heardUs = link.heardUs(ALIVE_EVERY_MS * 1000)
    const atUs = isSilent ? heardUs + PEER_SILENCE_MS * 1000 : this.kernel.nowUs + latencyUs
    this.kernel.at(atUs, TAG.message + submitter.tag, () => {
      if (link.isOver || this.peerNamed(link.peer).holdsLink(link)) return
      submitter.lose(link, isSilent ? 'nothing was heard of it' : 'its connection was closed')
    })
  }

  onCommitted(job: JobView, peer: WorkerEnd, key: LeaseKey, { inferences, facts }: Committed): void {
    peer.inferences += inferences
    this.#committedInferences += inferences
    if (this.#committedInferences >= (1 - TAIL_SHARE) * this.#inferences)
      this.tailFromUs ??= this.kernel.nowUs
    peer.firstResultUs ??= this.kernel.nowUs
    if (facts === undefined) return
    peer.meter.usefulUs += facts.ranUs
    if (!facts.isLast) return
    const committedUs = this.kernel.nowUs
    this.#options.tasks.add({ job: job.number, n: key.n, peer: peer.number, committedUs }, facts)
  }

  onJobEnded(job: JobView): void {
    this.#runningJobs.delete(job as JobRun)
    this.#endedJobs += 1
    if (this.#endedJobs === this.jobs.length) this.kernel.stop()
  }

  #coldTier(): Candidate['tier'] {
    return this.scenario.origin.isThere ? 'partial' : 'absent'
  }

  #areConnected(job: JobView, peer: PeerView): boolean {
    const draw = (mix(mix(job.number + 1) ^ peer.number) >>> 0) / 0x1_0000_0000
    return draw < CONNECTIONS_MAX / Math.max(1, this.#fates.liveCount)
  }

  #onParted(): void {
    this.adverts?.cut()
    this.adverts?.heal()
  }

  /** Contexts that somebody has put on some of the peers that are there. */
  #placeCopies(): void {
    const { copies } = this.scenario.contexts
    const random = this.streams.of('contexts', 'copies')
    for (const context of this.#contextIds.keys()) {
      const up = this.peers.filter(({ state }) => state === 'up')
      for (let placed = 0; placed < copies && up.length > 0;) {
        const [peer] = up.splice(randomInteger(random, up.length), 1)
        if (peer?.larder.import(context) === true) placed += 1
      }
    }
  }

  #makeOrigin(): Host {
    const { upMbps, latencyMs, isThere } = this.scenario.origin
    const host = new Host(this, ORIGIN, 0, {
      upBytesPerS: bytesPerS(upMbps),
      downBytesPerS: bytesPerS(upMbps),
      latencyUs: latencyMs * 1000,
    })
    if (!isThere) return host
    host.isReachable = true
    for (const context of this.#contextIds.keys()) {
      host.shelves.set(context, this.#wholeShelf)
      this.tree.addSource(host, context)
    }
    return host
  }

  #makePeer(group: PeerGroup, number: number): Peer {
    const id = `${group.name}-${String(number).padStart(5, '0')}`
    const device = deviceOf(this.scenario, group, number, this.streams)
    const host = new Host(this, id, this.peers.length + 1, {
      upBytesPerS: bytesPerS(device.upMbps),
      downBytesPerS: bytesPerS(device.downMbps),
      latencyUs: group.latencyMs * 1000,
      uploadCapBytesPerS: group.uploadCapMbps === undefined ? undefined : bytesPerS(group.uploadCapMbps),
      corruptShare: device.corruptShare,
    })
    if (group.holds) {
      for (const context of this.#contextIds.keys()) host.shelves.set(context, this.#wholeShelf)
    }
    const peer = new Peer(this, { number: this.peers.length, group: group.name, device, host })
    this.peers.push(peer)
    this.#byName.set(id, peer)
    return peer
  }
}

/** Peers count copies to keep enough of them, and to know which they may drop. */
function keepsCopies({ replicas, peers }: Scenario): boolean {
  return replicas > 0 || peers.some(({ diskGB }) => diskGB !== undefined)
}

function bytesPerS(mbps: number): number {
  return (mbps * 1e6) / 8
}

function chunkLengths(bytes: number, chunkBytes: number): Uint32Array {
  const lengths = new Uint32Array(Math.max(1, Math.ceil(bytes / chunkBytes))).fill(chunkBytes)
  const last = bytes - chunkBytes * (lengths.length - 1)
  lengths[lengths.length - 1] = last
  return lengths
}
