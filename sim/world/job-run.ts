import { step } from '../../src/tasks/submitter/core/coordinator.ts'
import { CoordinatorEvents } from '../../src/tasks/submitter/core/coordinator-events.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
  type CoordinatorState,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorOptions,
} from '../../src/tasks/submitter/core/coordinator-state.ts'
import { CommitPace } from '../../src/tasks/journal/core/commit-pace.ts'
import { nextTickMs } from '../../src/tasks/submitter/core/pace.ts'
import type { Candidate } from '../../src/tasks/submitter/core/candidate.ts'
import type { LeaseKey } from '../../src/tasks/wire/task-messages.ts'
import type { EventSink } from '../../src/base/log/event-log.ts'
import type { Random } from '../../src/base/random.ts'
import { NO_EVENT, type EventHandle } from '../kernel/kernel.ts'
import { SHELL_DEFAULTS } from '../scenarios/constants-schema.ts'
import { COMMIT_US } from '../scenarios/outside.ts'
import type { Scenario } from '../scenarios/schema.ts'
import type { RunFacts } from './events/run-facts.ts'
import { TAG } from './events/tags.ts'
import { TaskLink, type SubmitterEnd } from './swarm/task-link.ts'
import type { Workload } from './swarm/workload.ts'
import type { JobView, Swarm } from './swarm/swarm.ts'

interface Commit {
  /** Over which the result came; undefined of an error of our own. */
  link: TaskLink | undefined
  key: LeaseKey
  facts: RunFacts | undefined
}

type Arrived = CoordinatorEvent & { facts?: RunFacts | undefined }

export interface JobOptions {
  number: number
  id: string
  submitter: string
  context: number
  latencyUs: number
  events: EventSink | undefined
}

/** One job and its submitter: core/coordinator on simulated streams and a journal that is a list. */
export class JobRun implements SubmitterEnd, JobView {
  readonly id: string
  readonly number: number
  readonly tag: number
  readonly context: number
  readonly workload: Workload
  readonly #submitter: string
  /** The body of every request: whose it is. */
  readonly #body: string
  readonly #latencyUs: number
  readonly #world: Swarm
  readonly #random: Random
  readonly #state: CoordinatorState
  readonly #events: CoordinatorEvents | undefined
  readonly #shell: typeof SHELL_DEFAULTS
  readonly #pace: CommitPace
  readonly #links = new Map<string, TaskLink>()
  /** The journal: whether each request has its line. */
  readonly #lines: Uint8Array
  #commits: Commit[] = []
  #nextCommit: EventHandle = NO_EVENT
  #isFinding = false
  #nextSession = 1
  #tick: EventHandle = 0
  #tickAtUs = Number.POSITIVE_INFINITY
  submittedUs = 0
  endedUs: number | undefined
  hasFinished = false
  gaveUp: string | undefined
  committedRequests = 0
  committedInferences = 0
  failedInferences = 0

  constructor(world: Swarm, workload: Workload, options: JobOptions) {
    this.#world = world
    this.id = options.id
    this.number = options.number
    this.tag = options.number
    this.context = options.context
    this.workload = workload
    this.#submitter = options.submitter
    this.#body = String(options.number)
    this.#latencyUs = options.latencyUs
    this.#random = world.streams.of(options.id, 'coordinator')
    this.#lines = new Uint8Array(workload.requests)
    this.#events = options.events === undefined ? undefined : new CoordinatorEvents(options.events)
    const { core, shell } = optionsOf(world.scenario)
    this.#shell = shell
    this.#pace = new CommitPace(shell)
    this.#state = createCoordinator({ ranges: [{ from: 0, to: workload.requests }] }, core)
  }

  start(): void {
    this.submittedUs = this.#world.kernel.nowUs
    this.dispatch({ kind: 'start' })
  }

  get isOver(): boolean {
    return this.endedUs !== undefined
  }

  /** A peer's advert came. */
  hear(candidate: Candidate): void {
    this.dispatch({ kind: 'candidates', candidates: [candidate] })
  }

  receive(link: TaskLink, event: CoordinatorEvent): void {
    if (event.kind === 'lost') return this.lose(link, event.reason)
    this.dispatch(event, link)
  }

  lose(link: TaskLink, reason: string): void {
    if (this.#links.get(link.peer) !== link) return
    link.isOver = true
    this.#forget(link)
    this.dispatch({ kind: 'lost', peer: link.peer, reason })
  }

  /** `link`: over which it came, or what it is about. */
  dispatch(event: Arrived, link?: TaskLink): void {
    if (this.isOver) return
    const effects = step(this.#state, event, this.#world.kernel.nowMs, this.#random)
    this.#events?.add(event, effects)
    for (const effect of effects) this.#perform(effect, event, link)
    this.#tickWhenDue()
  }

  #perform(effect: CoordinatorEffect, event: Arrived, from: TaskLink | undefined): void {
    switch (effect.kind) {
      case 'find':
        return this.#find()
      case 'open':
        return this.#open(effect.peer)
      case 'close':
        return this.#close(effect.peer)
      case 'lease': {
        const link = this.#linkTo(effect.peer, from)
        return link?.toWorker({ kind: 'lease', session: link.session, requests: effect.requests })
      }
      case 'send':
        return this.#send(this.#linkTo(effect.peer, from), effect.leases)
      case 'commit':
        return this.#commitLater({ link: from, key: effect.key, facts: event.facts })
      case 'accept':
      case 'fail':
        return this.#commitLater({ link: undefined, key: effect.key, facts: undefined })
      case 'doubt':
        return
      case 'acknowledge': {
        const link = this.#linkTo(effect.peer, from)
        return link?.toWorker({ kind: 'acknowledged', session: link.session, keys: effect.keys })
      }
      case 'cancel': {
        const link = this.#linkTo(effect.peer, from)
        return link?.toWorker({ kind: 'cancelled', session: link.session, keys: effect.keys })
      }
      case 'give-up':
        this.gaveUp = effect.reason.words
        return this.#end()
      case 'finish':
        this.hasFinished = true
        return this.#end()
    }
  }

  #find(): void {
    if (this.#isFinding) return
    this.#isFinding = true
    this.#world.directory.find(this.context, this.tag, (found) => {
      this.#isFinding = false
      const candidates = found.map((peer) => this.#world.candidateOf(peer, this.context))
      this.dispatch({ kind: 'candidates', candidates })
    })
  }

  /** Dialling takes a round trip, opening the stream another; one that is not there refuses, or says nothing. */
  #open(name: string): void {
    const { kernel, scenario } = this.#world
    const peer = this.#world.peerNamed(name)
    const latencyUs = this.#latencyUs + peer.host.latencyUs
    const isCutOff = (): boolean => peer.host.side !== 0
    const isSilent =
      isCutOff() || peer.state === 'frozen' || (peer.state === 'down' && scenario.losses === 'silent')
    const tookUs = isSilent ? this.#shell.openMs * 1000 : 4 * latencyUs
    const session = `${this.id}-${this.#nextSession++}`
    const link = new TaskLink(kernel, { peer: name, session, latencyUs }, this, peer)
    this.#links.set(name, link)
    kernel.after(tookUs, TAG.job + this.tag, () => {
      if (this.isOver || this.#links.get(name) !== link) return
      if (peer.state !== 'up' || isCutOff()) return this.lose(link, 'it could not be reached')
      link.toWorker({
        kind: 'opened',
        session,
        submitter: this.#submitter,
        job: this.id,
        contextId: this.#world.contextId(this.context),
        leaseSize: this.#state.options.leaseSize,
      })
      this.dispatch({ kind: 'opened', peer: name })
    })
  }

  #close(name: string): void {
    const link = this.#links.get(name)
    if (link === undefined) return
    this.#forget(link)
    link.toWorker({ kind: 'lost', session: link.session })
  }

  #forget(link: TaskLink): void {
    link.isInUse = false
    this.#links.delete(link.peer)
  }

  /** Mostly it is the one that the event came over. */
  #linkTo(peer: string, from: TaskLink | undefined): TaskLink | undefined {
    return from?.isInUse === true && from.peer === peer ? from : this.#links.get(peer)
  }

  #send(link: TaskLink | undefined, leases: readonly LeaseKey[]): void {
    if (link === undefined) return
    const requests = leases.map(({ n, epoch }) => ({ n, epoch, url: '', body: this.#body }))
    link.toWorker({ kind: 'requests', session: link.session, requests })
  }

  #commitLater(commit: Commit): void {
    const { kernel } = this.#world
    this.#commits.push(commit)
    const results = this.#commits.length
    // Those that come during the commit go with it.
    const isFull = this.#pace.isFull(results) && !this.#pace.isFull(results - 1)
    if (isFull) kernel.cancel(this.#nextCommit)
    else if (results > 1) return
    const waitUs = isFull ? 0 : 1000 * this.#pace.waitMs(kernel.nowMs)
    this.#nextCommit = kernel.after(waitUs + COMMIT_US, TAG.job + this.tag, commitAll, this)
  }

  /** As the group commit of a peer does, once it is durable. */
  commitAll(): void {
    const commits = this.#commits
    this.#commits = []
    const { nowMs } = this.#world.kernel
    this.#pace.committed(nowMs - COMMIT_US / 1000, nowMs)
    for (const commit of commits) this.#commit(commit)
  }

  #commit({ link, key, facts }: Commit): void {
    const { kernel, checks } = this.#world
    if (this.#lines[key.n] === 1) checks.break('nothing committed twice', `${this.id}: request ${key.n}`)
    this.#lines[key.n] = 1
    const inferences = this.workload.inferencesOf(key.n)
    this.committedRequests += 1
    kernel.note(key.n)
    if (link === undefined) this.failedInferences += inferences
    else {
      this.committedInferences += inferences
      this.#world.onCommitted(this, link.worker, key, { inferences, facts })
    }
    this.dispatch({ kind: 'committed', peer: link?.peer, key }, link)
  }

  /** Ticks come at multiples of `tickMs`, as those of the shell; those that are not due are left out, as there. */
  #tickWhenDue(): void {
    if (this.isOver) return
    const { kernel } = this.#world
    const dueMs = nextTickMs(this.#state)
    if (dueMs === Number.POSITIVE_INFINITY) return
    const tickUs = this.#shell.tickMs * 1000
    const ticks = Math.max(
      Math.floor((kernel.nowUs - this.submittedUs) / tickUs) + 1,
      Math.ceil((dueMs * 1000 - this.submittedUs) / tickUs),
    )
    const atUs = this.submittedUs + ticks * tickUs
    if (atUs >= this.#tickAtUs) return
    kernel.cancel(this.#tick)
    this.#tickAtUs = atUs
    this.#tick = kernel.at(atUs, TAG.job + this.tag, () => {
      this.#tickAtUs = Number.POSITIVE_INFINITY
      if (kernel.nowMs < nextTickMs(this.#state)) return this.#tickWhenDue()
      this.#hearWhoGetsOn()
      this.dispatch({ kind: 'tick' })
    })
  }

  /** A live peer says every 5 s that it gets on. That is simulated only where the job would give up without it. */
  #hearWhoGetsOn(): void {
    const { nowMs } = this.#world.kernel
    const { book, options, progressAtMs } = this.#state
    if (nowMs - progressAtMs < options.giveUpMs) return
    for (const [peer, { isCut }] of this.#links) {
      const phase = book.get(peer)?.phase
      const isAtWork = phase === 'fetching' || phase === 'loading' || phase === 'ready'
      if (!isAtWork || isCut || this.#world.peerNamed(peer).state !== 'up') continue
      this.dispatch({ kind: 'status', peer, phase, reason: undefined, detail: `at ${nowMs} ms` })
    }
  }

  #end(): void {
    this.endedUs = this.#world.kernel.nowUs
    for (const name of this.#links.keys()) this.#close(name)
    this.#world.onJobEnded(this)
  }
}

function commitAll(job: JobRun): void {
  job.commitAll()
}

function optionsOf({ coordinator, policy, mode, batch, inferencesPerRequest }: Scenario): {
  core: CoordinatorOptions
  shell: typeof SHELL_DEFAULTS
} {
  // A live peer says every 2 s that it is alive. Those messages are not simulated: World.breakLink works
  // out when they would be missed.
  const core: CoordinatorOptions = { ...COORDINATOR_DEFAULTS, silenceMs: Number.POSITIVE_INFINITY }
  // Batches are the paper's; Hearth has them only where a mode is to be compared that it has not.
  if (policy === 'paper' || mode !== 'pervasive') {
    // A batch counts inferences, however many a request stands for.
    core.leaseSize = Math.ceil(batch / inferencesPerRequest)
    // The bound on what a peer may have out is one of memory on real machines; a batch is given out whole.
    core.outstandingMax = Math.max(core.outstandingMax, core.leaseSize)
  }
  const shell = { ...SHELL_DEFAULTS }
  for (const [name, value] of Object.entries(coordinator))
    Object.assign(name in shell ? shell : core, { [name]: value })
  return { core, shell }
}
