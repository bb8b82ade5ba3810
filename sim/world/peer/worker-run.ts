import { UNDELIVERED_RESULT_AGE_MS_MAX } from '../../../src/base/limits.ts'
import type { CoordinatorEvent } from '../../../src/tasks/submitter/core/coordinator-state.ts'
import type { TaskResult } from '../../../src/tasks/wire/task-messages.ts'
import { finishMs, isDrained } from '../../../src/tasks/worker/core/drain.ts'
import { stepWorker } from '../../../src/tasks/worker/core/worker.ts'
import {
  createWorker,
  type WorkerState,
  type WorkerEffect,
  type WorkerEvent,
} from '../../../src/tasks/worker/core/worker-state.ts'
import type { PeerDevice } from '../swarm/device.ts'
import { Gpu, type GpuOwner } from './gpu.ts'
import type { GpuMeter } from '../swarm/gpu-meter.ts'
import type { Larder } from './larder.ts'
import type { RunFacts } from '../events/run-facts.ts'
import type { PeerView, Swarm } from '../swarm/swarm.ts'
import type { TaskLink } from '../swarm/task-link.ts'
import type { Timers } from '../events/timers.ts'

/** The ledger is looked at ten times in the life of a result, where a live peer looks every second: fewer events. */
const LEDGER_TICK_US = 100 * UNDELIVERED_RESULT_AGE_MS_MAX

type RunResult = Extract<WorkerEvent, { kind: 'done' }>['result']

/** The peer that works. */
export interface WorkerOwner extends PeerView {
  readonly meter: GpuMeter
  readonly larder: Larder
  /** How long the next load takes, s. */
  drawLoadS(): number
  /** A context is loaded from now on. */
  onWarm(context: number): void
  /** The context was unloaded. */
  onCooled(context: number): void
  /** The peer drains and has finished its work. */
  onDrained(): void
  onLinkOpened(session: string, contextId: string): void
  onLinkGone(session: string): void
}

/** The worker of one peer session: core/worker on a simulated GPU and its links. */
export class WorkerRun implements GpuOwner {
  readonly links: Map<string, TaskLink> = new Map<string, TaskLink>()
  readonly gpu: Gpu
  readonly #world: Swarm
  readonly #owner: WorkerOwner
  readonly #timers: Timers
  readonly #state: WorkerState
  /** When the lease of a session began, where there are leases. */
  #leases: Map<string, number> | undefined
  #isTicking = false
  /** Times that results were sent. */
  #delivered = 0

  constructor(world: Swarm, owner: WorkerOwner, timers: Timers) {
    this.#world = world
    this.#owner = owner
    this.#timers = timers
    this.#state = createWorker(world.workerOptions)
    this.gpu = new Gpu(world, this, timers)
  }

  get device(): PeerDevice {
    return this.#owner.device
  }

  get meter(): GpuMeter {
    return this.#owner.meter
  }

  drawLoadS(): number {
    return this.#owner.drawLoadS()
  }

  receive(link: TaskLink, event: WorkerEvent): void {
    if (event.kind === 'opened') {
      this.links.set(link.session, link)
      this.#owner.onLinkOpened(link.session, event.contextId)
    }
    if (event.kind === 'lost') this.#forgetLink(link.session)
    const { policy, mode, work } = this.#world.scenario
    if (policy === 'hearth' || (event.kind !== 'lease' && event.kind !== 'requests'))
      return this.#dispatch(event)
    // The time that the paper's manager and worker need to start and collect a task.
    this.#timers.after(work.overheadS[mode] * 1e6, () => {
      if (event.kind === 'lease') (this.#leases ??= new Map()).set(event.session, this.#world.kernel.nowUs)
      this.#dispatch(event)
    })
  }

  /** The peer leaves, and has to be gone in so long: as node/departure.ts. */
  drain(leftUs: number): void {
    this.#dispatch({ kind: 'drain' })
    const finishUs = 1000 * finishMs(leftUs / 1000)
    this.#timers.after(finishUs, () => this.#dispatch({ kind: 'drain-over' }))
  }

  #dispatch(event: WorkerEvent): void {
    for (const effect of stepWorker(this.#state, event, this.#world.kernel.nowMs)) this.#perform(effect)
    if (isDrained(this.#state)) this.#owner.onDrained()
  }

  loseLink(link: TaskLink): void {
    if (this.#forgetLink(link.session)) this.#dispatch({ kind: 'lost', session: link.session })
  }

  /** Those that ended while nobody here could see that. */
  loseLinksThatAreOver(): void {
    for (const link of this.links.values()) if (link.isOver) this.loseLink(link)
  }

  #perform(effect: WorkerEffect): void {
    const peer = this.#owner.id
    switch (effect.kind) {
      case 'status': {
        const { phase, reason, detail } = effect
        return this.#say(effect.session, { kind: 'status', peer, phase, reason, detail })
      }
      case 'credit':
        return this.#say(effect.session, { kind: 'credit', peer, requests: effect.requests })
      case 'deliver':
        return this.#deliver(effect.session, effect.results)
      case 'return':
        return this.#say(effect.session, { kind: 'returned', peer, keys: effect.keys })
      case 'end':
        this.#say(effect.session, { kind: 'lost', peer, reason: effect.reason })
        this.#forgetLink(effect.session)
        return
      case 'prepare':
        return this.#prepare(effect.contextId)
      case 'discard':
        return this.#discard(effect.contextId, effect.keepsFiles)
      case 'run':
        return this.#run(effect.run, effect.contextId, effect.request.n, effect.request.body)
      case 'stop-run':
        this.gpu.stop(effect.run)
    }
  }

  #say(session: string, event: CoordinatorEvent): void {
    this.links.get(session)?.toSubmitter(event)
  }

  /** Results of a lease go together; each carries the times of the whole lease. */
  #deliver(session: string, results: readonly TaskResult[]): void {
    const link = this.links.get(session)
    if (link === undefined) return
    this.#delivered += 1
    const leaseUs = this.#leases?.get(session)
    for (let index = 0; index < results.length; index += 1) {
      const result = results[index] as TaskResult
      const key = { n: result.n, epoch: result.epoch }
      // The facts of a run travel with its result; the cores pass them on unseen.
      let { facts } = result as { facts?: RunFacts }
      if (leaseUs !== undefined && facts !== undefined) {
        const isLast = index === results.length - 1
        facts = { ...facts, startedUs: leaseUs, endedUs: this.#world.kernel.nowUs, isLast }
      }
      const event = { kind: 'result' as const, peer: this.#owner.id, key, outcome: result.outcome, facts }
      link.toSubmitter(event)
    }
  }

  #prepare(contextId: string): void {
    const { mode } = this.#world.scenario
    const context = this.#world.contextNumbered(contextId)
    this.#dispatch({ kind: 'progress', contextId, phase: 'fetching', detail: '' })
    this.#owner.larder.stock(context, (problem) => {
      if (problem !== undefined) return this.#cannot(contextId, 'context-unavailable', problem)
      // In mode `partial` a task's time begins when its files are there, as it does in the paper.
      if (mode === 'partial') this.#restartLeases()
      this.#dispatch({ kind: 'progress', contextId, phase: 'loading', detail: '' })
      this.gpu.load(context, (refusal) => {
        if (refusal !== undefined) return this.#cannot(contextId, 'limit-reached', refusal)
        if (mode === 'pervasive') this.#owner.onWarm(context)
        this.#dispatch({ kind: 'prepared', contextId, slots: this.device.slots })
      })
    })
  }

  #restartLeases(): void {
    for (const session of this.#leases?.keys() ?? []) this.#leases?.set(session, this.#world.kernel.nowUs)
  }

  #discard(contextId: string, keepsFiles: boolean): void {
    const context = this.#world.contextNumbered(contextId)
    this.gpu.unload(context, () => {
      if (!keepsFiles) this.#owner.larder.discard(context)
      this.#dispatch({ kind: 'discarded', contextId })
    })
  }

  #cannot(contextId: string, reason: string, detail: string): void {
    this.#dispatch({ kind: 'unprepared', contextId, reason, detail })
  }

  #run(id: number, contextId: string, n: number, body: string): void {
    const { checks, scenario } = this.#world
    const context = this.#world.contextNumbered(contextId)
    if (!this.gpu.isLoaded(context)) return this.#dispatch({ kind: 'done', run: id, result: NOT_LOADED })
    checks.onRun(this.#owner, context)
    const runS = this.#world.workloadOf(Number(body)).runS(n, this.device.inferenceS)
    this.gpu.start(id, context, runS + scenario.shell.requestMs / 1000)
  }

  onRan(run: number, facts: RunFacts): void {
    const before = this.#delivered
    this.#dispatch({ kind: 'done', run, result: doneWith(facts) })
    if (this.#delivered === before) this.#tickLater()
  }

  onUnloaded(context: number, reason: string): void {
    this.#owner.onCooled(context)
    this.#cannot(this.#world.contextId(context), 'context-unavailable', reason)
  }

  #forgetLink(session: string): boolean {
    this.#owner.onLinkGone(session)
    this.#tickLater()
    return this.links.delete(session)
  }

  /**
   * Results that nobody acknowledges are forgotten in time. What was delivered is acknowledged, unless its
   * link is lost: only then does the worker's clock tick.
   */
  #tickLater(): void {
    if (this.#isTicking || this.#state.ledger.bytes === 0) return
    this.#isTicking = true
    this.#timers.after(LEDGER_TICK_US, () => {
      this.#isTicking = false
      this.#dispatch({ kind: 'tick' })
      this.#tickLater()
    })
  }
}

/** The outcome of a run, with the simulator's own facts. */
function doneWith(facts: RunFacts): RunResult & { facts: RunFacts } {
  return { outcome: 'ok', statusCode: 200, body: '', promptTokens: 0, completionTokens: 0, facts }
}

const NOT_LOADED: RunResult = {
  outcome: 'retry',
  statusCode: 503,
  body: '',
  promptTokens: 0,
  completionTokens: 0,
}
