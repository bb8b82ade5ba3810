import type { PeerDevice } from '../swarm/device.ts'
import { Engine, type EngineOwner, type EngineRun } from './engine.ts'
import type { RunFacts } from '../events/run-facts.ts'
import type { Swarm } from '../swarm/swarm.ts'
import type { Timers } from '../events/timers.ts'
import { WarmContexts, type WarmOwner } from './warm-contexts.ts'

/** The peer whose GPU it is. */
export interface GpuOwner extends WarmOwner {
  readonly device: PeerDevice
  /** A run is done. */
  onRan(run: number, facts: RunFacts): void
}

/** A request that runs here. */
interface GpuRun extends EngineRun {
  id: number
  seconds: number
  /** Its use of the loaded context. */
  ticket: number
  handedOverUs: number
}

/** One peer's GPU: what core/residency keeps loaded on it, and the requests that run there. */
export class Gpu implements EngineOwner<GpuRun> {
  readonly #world: Swarm
  readonly #owner: GpuOwner
  readonly #warm: WarmContexts
  readonly #engine: Engine<GpuRun>
  /** Runs that are over, to be filled in anew: a run lives long, and the collector would move each. */
  readonly #spare: GpuRun[] = []

  constructor(world: Swarm, owner: GpuOwner, timers: Timers) {
    this.#world = world
    this.#owner = owner
    this.#warm = new WarmContexts(world, owner, timers)
    this.#engine = new Engine(timers, owner.meter, owner.device.slots, this)
  }

  /** Contexts that were loaded, as often as they were. */
  get loads(): number {
    return this.#warm.loads
  }

  isLoaded(context: number): boolean {
    return this.#warm.isLoaded(context)
  }

  hasLoaded(isWanted: (context: number) => boolean): boolean {
    return this.#warm.hasLoaded(isWanted)
  }

  load(context: number, onLoaded: (refusal: string | undefined) => void): void {
    this.#warm.load(context, onLoaded)
  }

  unload(context: number, onUnloaded: () => void): void {
    this.#warm.unload(context, onUnloaded)
  }

  /** Runs a request for so many seconds of its slot. Its context must be loaded. */
  start(id: number, context: number, seconds: number): void {
    const run = this.#spare.pop() ?? newRun(this.#engine)
    run.id = id
    run.seconds = seconds
    run.ticket = this.#warm.borrow(context)
    run.handedOverUs = this.#world.kernel.nowUs
    this.#engine.start(run)
  }

  stop(id: number): void {
    const run = this.#engine.stop(id)
    if (run === undefined) return
    this.#spare.push(run)
    this.#warm.giveBack(run.ticket)
  }

  /** Stops all runs and reports them to the meter. */
  clear(): void {
    this.#engine.clear()
  }

  onRan(run: GpuRun, ranUs: number): void {
    const { id, ticket, handedOverUs } = run
    this.#spare.push(run)
    this.#warm.giveBack(ticket)
    const { nowUs } = this.#world.kernel
    this.#owner.onRan(id, { ranUs, startedUs: handedOverUs, endedUs: nowUs, isLast: true })
  }
}

function newRun(engine: Engine<GpuRun>): GpuRun {
  return { id: 0, engine, seconds: 0, startedUs: 0, timer: undefined, ticket: 0, handedOverUs: 0 }
}
