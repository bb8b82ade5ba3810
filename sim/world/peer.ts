import {
  TASK_SESSIONS_MAX,
  UNDELIVERED_RESULT_AGE_MS_MAX,
  UNDELIVERED_RESULT_BYTES_MAX,
} from '../../src/base/limits.ts'
import { stepWorker } from '../../src/tasks/worker-core.ts'
import {
  createWorker,
  type Worker,
  type WorkerEffect,
  type WorkerEvent,
  type WorkerOptions,
} from '../../src/tasks/worker-state-core.ts'
import type { PeerDevice } from './device.ts'
import { loadSeconds } from './device.ts'
import { Engine, type RunFacts } from './engine.ts'
import { GpuMeter } from './gpu-meter.ts'
import type { Host } from './host.ts'
import { Larder } from './larder.ts'
import { TAG } from './tags.ts'
import type { TaskLink } from './task-link.ts'
import { Timers } from './timers.ts'
import { WarmContexts } from './warm-contexts.ts'
import type { PeerState, PeerView, Swarm } from './swarm.ts'

const WORKER_OPTIONS: WorkerOptions = {
  sessionsMax: TASK_SESSIONS_MAX,
  requestsPerSlot: 2,
  undeliveredBytesMax: UNDELIVERED_RESULT_BYTES_MAX,
  undeliveredAgeMsMax: UNDELIVERED_RESULT_AGE_MS_MAX,
}
const LEDGER_TICK_US = 60_000_000

type RunResult = Extract<WorkerEvent, { kind: 'done' }>['result']

/** One serving peer: worker-core and residency-core on a simulated GPU, disk and line. */
export class Peer implements PeerView {
  readonly number: number
  readonly group: string
  readonly host: Host
  readonly device: PeerDevice
  readonly meter: GpuMeter
  readonly larder: Larder
  readonly #world: Swarm
  readonly #timers: Timers
  readonly #links = new Map<string, TaskLink>()
  readonly #borrowed = new Map<string, () => void>()
  #worker: Worker
  #engine: Engine
  #warm: WarmContexts
  #inbox: [TaskLink, WorkerEvent][] = []
  #loadsDrawn = 0
  #isTicking = false
  state: PeerState = 'down'
  sessions = 0
  inferences = 0
  firstUpUs: number | undefined
  firstResultUs: number | undefined
  loads = 0

  constructor(world: Swarm, number: number, group: string, device: PeerDevice, host: Host) {
    this.#world = world
    this.number = number
    this.group = group
    this.device = device
    this.host = host
    this.meter = new GpuMeter(device.slots)
    this.#timers = new Timers(world.kernel, TAG.timer + number)
    this.larder = new Larder(world, this, this.#timers)
    this.#worker = createWorker(this.#workerOptions())
    this.#warm = this.#makeWarm()
    this.#engine = this.#makeEngine()
  }

  get id(): string {
    return this.host.id
  }

  get tag(): number {
    return this.host.tag
  }

  /** It joins, or comes back, with what is on its disk. */
  up(): void {
    const { nowUs } = this.#world.kernel
    this.state = 'up'
    this.sessions += 1
    this.firstUpUs ??= nowUs
    this.host.isReachable = true
    this.meter.up(nowUs)
    this.#worker = createWorker(this.#workerOptions())
    this.#warm = this.#makeWarm()
    this.#engine = this.#makeEngine()
    this.#world.directory.join(this.number)
    this.larder.publish()
  }

  /** It is killed: all that it did is lost, its disk is kept or not. */
  down(keepsDisk: boolean): void {
    const { nowUs } = this.#world.kernel
    if (this.state === 'down') return
    if (this.state === 'frozen') this.#timers.thaw()
    this.state = 'down'
    this.host.isReachable = false
    this.#engine.clear()
    this.larder.lose(keepsDisk)
    this.meter.down(nowUs)
    this.#timers.clear()
    this.loads += this.#warm.loads
    this.#borrowed.clear()
    this.#inbox = []
    this.#world.directory.leave(this.number)
    for (const link of this.#links.values())
      this.#world.breakLink(link, this.#world.scenario.losses === 'silent')
    this.#links.clear()
  }

  /** It is told that it will be taken away: it gives back what it has, and takes no more. */
  notice(): void {
    if (this.state === 'up') this.dispatch({ kind: 'owner', accepts: false, reason: 'draining' })
  }

  freeze(): void {
    if (this.state !== 'up') return
    this.state = 'frozen'
    this.host.isReachable = false
    this.#timers.freeze()
    this.larder.pause()
    for (const link of this.#links.values()) this.#world.breakLink(link, true)
  }

  thaw(): void {
    if (this.state !== 'frozen') return
    this.state = 'up'
    this.host.isReachable = true
    this.#timers.thaw()
    this.larder.resume()
    const inbox = this.#inbox
    this.#inbox = []
    for (const [link, event] of inbox) this.receive(link, event)
    for (const link of this.#links.values()) if (link.isOver) this.#loseLink(link)
  }

  holdsLink(link: TaskLink): boolean {
    return this.state === 'up' && this.#links.get(link.session) === link
  }

  receive(link: TaskLink, event: WorkerEvent): void {
    if (this.state === 'frozen') this.#inbox.push([link, event])
    if (this.state !== 'up') return
    if (event.kind === 'opened') this.#links.set(link.session, link)
    if (event.kind === 'lost') this.#links.delete(link.session)
    this.dispatch(event)
  }

  dispatch(event: WorkerEvent): void {
    for (const effect of stepWorker(this.#worker, event, this.#world.kernel.nowMs)) this.#perform(effect)
  }

  /** The run has ended: what is under way is counted. */
  settle(): void {
    this.#engine.clear()
    this.meter.touch(this.#world.kernel.nowUs)
  }

  drawLoadS(): number {
    const { streams, scenario } = this.#world
    const random = streams.of(this.id, 'load', this.#loadsDrawn++)
    return loadSeconds(this.device.loadS, scenario.loads, random)
  }

  /** Whether all that a run needs is here; in mode `none` it is fetched for the run. */
  mayRun(context: number): boolean {
    const { mode } = this.#world.scenario
    if (mode === 'pervasive') return this.#warm.isLoaded(context)
    return mode === 'none' || this.host.shelf(context)?.isWhole === true
  }

  isWarm(context: number): boolean {
    return this.state === 'up' && this.#warm.isLoaded(context)
  }

  get loadCount(): number {
    return this.loads + (this.state === 'down' ? 0 : this.#warm.loads)
  }

  #perform(effect: WorkerEffect): void {
    const link = 'session' in effect ? this.#links.get(effect.session) : undefined
    const peer = this.id
    switch (effect.kind) {
      case 'status': {
        const { phase, reason, detail } = effect
        return link?.toSubmitter({ kind: 'status', peer, phase, reason, detail })
      }
      case 'credit':
        return link?.toSubmitter({ kind: 'credit', peer, requests: effect.requests })
      case 'deliver':
        for (const result of effect.results) {
          const { n, epoch, outcome } = result
          // The facts of the run travel with its result; the cores pass them on unseen.
          const { facts } = result as { facts?: RunFacts }
          const event = { kind: 'result' as const, peer, key: { n, epoch }, outcome, facts }
          link?.toSubmitter(event)
        }
        return
      case 'end':
        link?.toSubmitter({ kind: 'lost', peer, reason: effect.reason })
        this.#links.delete(effect.session)
        return
      case 'prepare':
        return this.#prepare(effect.contextId)
      case 'run':
        return this.#run(effect.run, effect.contextId, effect.request.n, effect.request.body)
      case 'stop-run':
        this.#engine.stop(effect.run)
        this.#giveBack(effect.run)
    }
  }

  #prepare(contextId: string): void {
    const { mode } = this.#world.scenario
    const context = this.#world.contextNumbered(contextId)
    const prepared = (): void => this.dispatch({ kind: 'prepared', contextId, slots: this.device.slots })
    // For one run only, in mode `none`: see engine.ts.
    if (mode === 'none') return prepared()
    this.dispatch({ kind: 'progress', contextId, phase: 'fetching', detail: '' })
    this.larder.stock(context, (problem) => {
      if (problem !== undefined) return this.#cannot(contextId, 'context-unavailable', problem)
      if (mode === 'partial') return prepared()
      this.dispatch({ kind: 'progress', contextId, phase: 'loading', detail: '' })
      this.#warm.load(context, (refusal) => {
        if (refusal !== undefined) return this.#cannot(contextId, 'limit-reached', refusal)
        this.#world.directory.hold(this.number, context, 'warm')
        this.#world.announce(this)
        prepared()
      })
    })
  }

  #cannot(contextId: string, reason: string, detail: string): void {
    this.dispatch({ kind: 'unprepared', contextId, reason, detail })
  }

  #run(run: string, contextId: string, n: number, body: string): void {
    const context = this.#world.contextNumbered(contextId)
    if (this.#world.scenario.mode === 'pervasive') {
      const giveBack = this.#warm.borrow(context)
      if (giveBack === undefined) return this.dispatch({ kind: 'done', run, result: NOT_LOADED })
      this.#borrowed.set(run, giveBack)
    }
    this.#world.checks.onRun(this, context)
    const seconds = this.#world.workloadOf(Number(body)).runS(n, this.device.inferenceS)
    this.#engine.start(run, context, seconds, (facts) => {
      this.#giveBack(run)
      const result = { ...DONE, facts } as RunResult
      this.dispatch({ kind: 'done', run, result })
      this.#tickLater()
    })
  }

  #giveBack(run: string): void {
    const giveBack = this.#borrowed.get(run)
    this.#borrowed.delete(run)
    giveBack?.()
  }

  #loseLink(link: TaskLink): void {
    if (this.#links.delete(link.session)) this.dispatch({ kind: 'lost', session: link.session })
  }

  /** Results that are not acknowledged are forgotten in time; while there are none, no clock runs. */
  #tickLater(): void {
    if (this.#isTicking || this.#worker.ledger.bytes === 0) return
    this.#isTicking = true
    this.#timers.after(LEDGER_TICK_US, () => {
      this.#isTicking = false
      this.dispatch({ kind: 'tick' })
      this.#tickLater()
    })
  }

  #workerOptions(): WorkerOptions {
    return { ...WORKER_OPTIONS, ...this.#world.scenario.worker }
  }

  #makeWarm(): WarmContexts {
    const { scenario, kernel } = this.#world
    return new WarmContexts(
      {
        timers: this.#timers,
        meter: this.meter,
        nowUs: () => kernel.nowUs,
        drawLoadS: () => this.drawLoadS(),
        nameOf: (context) => this.#world.contextId(context),
        onClosed: (context, reason) => {
          this.#world.directory.unhold(this.number, context, 'warm')
          this.#cannot(this.#world.contextId(context), 'context-unavailable', reason)
        },
      },
      this.device.memoryBytes,
      scenario.contexts.memoryGB * 1e9,
      scenario.residency,
    )
  }

  #makeEngine(): Engine {
    const { scenario, kernel } = this.#world
    return new Engine(
      {
        timers: this.#timers,
        meter: this.meter,
        nowUs: () => kernel.nowUs,
        drawLoadS: () => this.drawLoadS(),
        fetchForRun: (onDone) => this.larder.fetchOnce(onDone),
      },
      { slots: this.device.slots, mode: scenario.mode, overheadS: scenario.work.overheadS[scenario.mode] },
    )
  }
}

const DONE: RunResult = { outcome: 'ok', statusCode: 200, body: '', promptTokens: 0, completionTokens: 0 }
const NOT_LOADED: RunResult = { ...DONE, outcome: 'retry', statusCode: 503 }
