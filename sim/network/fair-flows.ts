import type { EventHandle, Kernel } from '../kernel/kernel.ts'

/** The items of a flow, sent one after another. */
interface Item {
  bytes: number
  onArrived: () => void
}

/** Bytes on their way from one node to another, at a rate that the network gives. */
export interface Flow {
  readonly from: number
  readonly to: number
  /** Bytes per second now. */
  rate: number
  items: Item[]
  /** Bytes of the first item that had not arrived at `sinceUs`. */
  leftBytes: number
  sinceUs: number
  arrival: EventHandle | undefined
  /** Bytes that arrived since `takeProgress` was last called. */
  progress: number
}

/** One direction of one node's line. */
interface Line {
  capacity: number
  /** The rate of each flow that only this line limits; infinite when the line is not full. */
  level: number
  flows: Set<Flow>
  isDirty: boolean
}

const EVENT_TAG = 0x464c4f57

/**
 * Shares lines among flows, max–min fairly: no flow can have more without one that has less, or as much,
 * having less still. A change spreads from line to line only as far as it changes rates by more than
 * `tolerance`, so its cost depends on the flows near it and not on how many there are. At the fixed point
 * each flow's rate is the lower of its two lines' levels, and each level is what its full line can give to
 * those that it holds back: the bottleneck condition of max–min fairness (Bertsekas and Gallager, Data
 * Networks, 6.5.2).
 */
export class FairFlows {
  readonly #kernel: Kernel
  readonly #tolerance: number
  /** Lines with flows; the capacities of all. */
  readonly #up: (Line | undefined)[] = []
  readonly #down: (Line | undefined)[] = []
  readonly #capacities: number[] = []
  #dirty: Line[] = []
  #isFlushing = false
  /** Lines whose share was worked out. */
  solved = 0

  constructor(kernel: Kernel, tolerance = 1e-9) {
    this.#kernel = kernel
    this.#tolerance = tolerance
  }

  /** Capacities in bytes per second. Returns the node's number. */
  addNode(upBytesPerS: number, downBytesPerS: number): number {
    this.#up.push(undefined)
    this.#down.push(undefined)
    this.#capacities.push(upBytesPerS, downBytesPerS)
    return this.#up.length - 1
  }

  /** A flow that sends nothing yet. */
  open(from: number, to: number): Flow {
    return {
      from,
      to,
      rate: 0,
      items: [],
      leftBytes: 0,
      sinceUs: 0,
      arrival: undefined,
      progress: 0,
    }
  }

  /** Sends `bytes` after what the flow has still to send; calls `onArrived` once all of them are there. */
  send(flow: Flow, bytes: number, onArrived: () => void): void {
    flow.items.push({ bytes, onArrived })
    if (flow.items.length > 1) return
    flow.leftBytes = bytes
    flow.sinceUs = this.#kernel.nowUs
    this.#lineUp(flow).flows.add(flow)
    this.#lineDown(flow).flows.add(flow)
    this.#mark(this.#lineUp(flow))
    this.#mark(this.#lineDown(flow))
  }

  /** Ends a flow; nothing more of it arrives. Returns the bytes of its first item that had arrived. */
  close(flow: Flow): number {
    const [first] = flow.items
    if (first === undefined) return 0
    this.#settle(flow)
    flow.items = []
    this.#leave(flow)
    return first.bytes - flow.leftBytes
  }

  /** Bytes that arrived since this was last asked. */
  takeProgress(flow: Flow): number {
    this.#settle(flow)
    const { progress } = flow
    flow.progress = 0
    return progress
  }

  /** Works out the shares now; else that happens once all events of this moment have run. */
  flush(): void {
    const changed = new Set<Flow>()
    const { length } = this.#dirty
    for (let at = 0; at < this.#dirty.length; at += 1) {
      const line = this.#dirty[at] as Line
      line.isDirty = false
      this.#solve(line, changed)
      // A fixed point is near after a few rounds over what had changed; a tolerance of 0 might never end.
      if (at > 1000 * (length + 10)) break
    }
    this.#dirty = []
    this.#isFlushing = false
    for (const flow of changed) if (flow.items.length > 0) this.#applyRate(flow)
  }

  #mark(line: Line): void {
    if (!line.isDirty) {
      line.isDirty = true
      this.#dirty.push(line)
    }
    if (this.#isFlushing) return
    this.#isFlushing = true
    this.#kernel.at(this.#kernel.nowUs, EVENT_TAG, () => this.flush())
  }

  /** Works out a line's level from what the other lines of its flows would let through. */
  #solve(line: Line, changed: Set<Flow>): void {
    this.solved += 1
    const isUp = this.#isUp(line)
    const level = levelOf(line, (flow) => (isUp ? this.#lineDown(flow) : this.#lineUp(flow)).level)
    const before = line.level
    line.level = level
    const hasMoved = isChanged(before, level, this.#tolerance)
    for (const flow of line.flows) {
      const other = isUp ? this.#lineDown(flow) : this.#lineUp(flow)
      if (isChanged(flow.rate, Math.min(level, other.level), this.#tolerance)) changed.add(flow)
      // A flow that the other line holds back before and after makes no difference there.
      if (!hasMoved || Math.min(before, level) >= other.level || other.isDirty) continue
      other.isDirty = true
      this.#dirty.push(other)
    }
  }

  #applyRate(flow: Flow): void {
    const rate = Math.min(this.#lineUp(flow).level, this.#lineDown(flow).level)
    if (!isChanged(flow.rate, rate, this.#tolerance)) return
    this.#settle(flow)
    flow.rate = rate
    this.#schedule(flow)
  }

  #schedule(flow: Flow): void {
    if (flow.arrival !== undefined) this.#kernel.cancel(flow.arrival)
    flow.arrival = undefined
    if (flow.rate <= 0) return
    const leftUs = (Math.max(0, flow.leftBytes) * 1e6) / flow.rate
    flow.arrival = this.#kernel.after(Math.ceil(leftUs), EVENT_TAG + 1 + flow.to, () => this.#arrive(flow))
  }

  #arrive(flow: Flow): void {
    flow.arrival = undefined
    const item = flow.items.shift()
    if (item === undefined) return
    flow.progress += flow.leftBytes
    const [next] = flow.items
    flow.leftBytes = next?.bytes ?? 0
    flow.sinceUs = this.#kernel.nowUs
    if (next === undefined) this.#leave(flow)
    else this.#schedule(flow)
    item.onArrived()
  }

  /** Counts what arrived at the present rate. */
  #settle(flow: Flow): void {
    const { nowUs } = this.#kernel
    if (flow.items.length > 0) {
      const bytes = Math.min(flow.leftBytes, (flow.rate * (nowUs - flow.sinceUs)) / 1e6)
      flow.leftBytes -= bytes
      flow.progress += bytes
    }
    flow.sinceUs = nowUs
  }

  #leave(flow: Flow): void {
    if (flow.arrival !== undefined) this.#kernel.cancel(flow.arrival)
    flow.arrival = undefined
    flow.rate = 0
    const up = this.#lineUp(flow)
    const down = this.#lineDown(flow)
    up.flows.delete(flow)
    down.flows.delete(flow)
    // A line without flows has nothing to share, and is forgotten.
    if (up.flows.size > 0) this.#mark(up)
    else this.#up[flow.from] = undefined
    if (down.flows.size > 0) this.#mark(down)
    else this.#down[flow.to] = undefined
  }

  #lineUp({ from }: Flow): Line {
    return (this.#up[from] ??= lineOf(this.#capacities[2 * from] as number))
  }

  #lineDown({ to }: Flow): Line {
    return (this.#down[to] ??= lineOf(this.#capacities[2 * to + 1] as number))
  }

  #isUp(line: Line): boolean {
    for (const flow of line.flows) return this.#lineUp(flow) === line
    return true
  }
}

function lineOf(capacity: number): Line {
  return { capacity, level: Number.POSITIVE_INFINITY, flows: new Set(), isDirty: false }
}

let scratch = new Float64Array(64)

/** The rate at which the line is full when flows held back elsewhere take no more than they can. */
function levelOf(line: Line, limitElsewhere: (flow: Flow) => number): number {
  const { size } = line.flows
  if (size === 0) return Number.POSITIVE_INFINITY
  if (scratch.length < size) scratch = new Float64Array(2 * size)
  let filled = 0
  for (const flow of line.flows) scratch[filled++] = limitElsewhere(flow)
  const limits = scratch.subarray(0, size).sort()
  let left = line.capacity
  for (let index = 0; index < size; index += 1) {
    const share = left / (size - index)
    if ((limits[index] as number) > share) return share
    left -= limits[index] as number
  }
  return Number.POSITIVE_INFINITY
}

function isChanged(before: number, after: number, tolerance: number): boolean {
  if (before === after) return false
  if (!Number.isFinite(before) || !Number.isFinite(after)) return true
  return Math.abs(before - after) > tolerance * Math.max(before, after)
}
