import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  nextTickMs,
  stepResidency,
  type ResidencyEffect,
  type ResidencyEvent,
} from '../../../../src/inference/residency/core/residency.ts'
import {
  createResidency,
  RESIDENCY_DEFAULTS,
  type Residency,
  type ResidencyOptions,
} from '../../../../src/inference/residency/core/residency-state.ts'

/** No hysteresis, so that each table is about one thing. */
const PLAIN: ResidencyOptions = {
  ...RESIDENCY_DEFAULTS,
  memoryBytesMax: 100,
  contextsMax: 4,
  waitersMax: 4,
  stayMsMin: 0,
  stayPerLoad: 0,
  idleMsMin: 0,
  patienceMs: 1_000,
  reloadWeight: 0,
}

/** A residency whose contexts load and leave when the test says, on the test's time. */
class World {
  readonly state: Residency
  nowMs = 0
  #nextTicket = 1
  readonly said: string[] = []

  constructor(options: Partial<ResidencyOptions> = {}) {
    this.state = createResidency({ ...PLAIN, ...options })
  }

  step(event: ResidencyEvent): ResidencyEffect[] {
    const effects = stepResidency(this.state, event, this.nowMs)
    for (const effect of effects) {
      const isOfTicket = effect.kind === 'grant' || effect.kind === 'refuse'
      this.said.push(`${effect.kind} ${isOfTicket ? effect.ticket : effect.contextId}`)
    }
    return effects
  }

  acquire(contextId: string, estimateBytes = 40): number {
    const ticket = this.#nextTicket++
    this.step({ kind: 'acquire', ticket, contextId, estimateBytes })
    return ticket
  }

  /** Loaded in `loadMs`, used and released. */
  warm(contextId: string, bytes = 40, loadMs = 0): void {
    const ticket = this.acquire(contextId, bytes)
    this.nowMs += loadMs
    this.step({ kind: 'loaded', contextId })
    this.step({ kind: 'release', ticket })
    this.nowMs += 1
    this.said.length = 0
  }
}

test('a context that is there, or on its way, is granted at once', () => {
  const world = new World()
  world.acquire('a')
  world.acquire('a')
  world.step({ kind: 'loaded', contextId: 'a' })
  world.acquire('a')
  expect(world.said).toEqual(['load a', 'grant 1', 'grant 2', 'grant 3'])
})

test('several that fit are loaded beside one another', () => {
  const world = new World()
  for (const contextId of ['a', 'b', 'c']) world.acquire(contextId, 33)
  expect(world.said).toEqual(['load a', 'grant 1', 'load b', 'grant 2', 'load c', 'grant 3'])
})

test('the least recently used goes, and the next is loaded only when its memory is back', () => {
  const world = new World()
  world.warm('a')
  world.warm('b')
  world.step({ kind: 'release', ticket: world.acquire('a') })
  world.said.length = 0
  world.acquire('c')
  expect(world.said).toEqual(['close b', 'unload b'])
  world.step({ kind: 'unloaded', contextId: 'b' })
  expect(world.said).toEqual(['close b', 'unload b', 'load c', 'grant 4'])
})

test('one that loads slowly stays for longer than one that loads fast', () => {
  const world = new World({ reloadWeight: 30 })
  world.warm('slow', 40, 100)
  world.nowMs += 1_000
  world.warm('fast', 40, 1)
  world.acquire('c')
  expect(world.said).toEqual(['close fast', 'unload fast'])
})

test('as few go as will do', () => {
  const world = new World()
  world.warm('small', 10)
  world.warm('large', 60)
  world.acquire('c', 90)
  expect(world.said).toEqual(['close large', 'unload large'])
})

test('nobody goes when that would not make room', () => {
  const world = new World()
  world.warm('idle', 30)
  world.acquire('used', 50)
  world.said.length = 0
  world.acquire('c', 60)
  expect(world.said).toEqual([])
})

test('acquirers wait for a use to end, and are served in order, those of one context together', () => {
  const world = new World({ contextsMax: 1, patienceMs: Infinity })
  const first = world.acquire('a')
  world.step({ kind: 'loaded', contextId: 'a' })
  const waiting = ['b', 'c', 'b'].map((contextId) => world.acquire(contextId))
  world.said.length = 0
  world.step({ kind: 'release', ticket: first })
  world.step({ kind: 'unloaded', contextId: 'a' })
  expect(world.said.splice(0)).toEqual(['close a', 'unload a', 'load b', 'grant 2', 'grant 4'])
  world.step({ kind: 'loaded', contextId: 'b' })
  for (const ticket of waiting) world.step({ kind: 'release', ticket })
  expect(world.said).toEqual([])
  expect(world.state.waiters).toEqual([])
})

test('a place that comes free goes to the next in the queue', () => {
  const world = new World({ contextsMax: 1, patienceMs: Infinity })
  const first = world.acquire('a')
  world.acquire('b')
  world.acquire('c')
  world.step({ kind: 'loaded', contextId: 'a' })
  world.step({ kind: 'release', ticket: first })
  world.said.length = 0
  world.step({ kind: 'unloaded', contextId: 'a' })
  world.step({ kind: 'loaded', contextId: 'b' })
  world.step({ kind: 'release', ticket: 2 })
  world.step({ kind: 'unloaded', contextId: 'b' })
  expect(world.said).toEqual(['load b', 'grant 2', 'close b', 'unload b', 'load c', 'grant 3'])
})

test('who has waited for long takes the room of a context that is always in use, after its last use', () => {
  const world = new World({ contextsMax: 1, patienceMs: 500 })
  const busy = world.acquire('a')
  world.step({ kind: 'loaded', contextId: 'a' })
  world.acquire('b')
  expect(nextTickMs(world.state, world.nowMs)).toBe(500)
  world.nowMs = 500
  world.said.length = 0
  world.step({ kind: 'tick' })
  expect(world.said).toEqual(['close a'])
  const late = world.acquire('a')
  world.step({ kind: 'release', ticket: busy })
  world.step({ kind: 'unloaded', contextId: 'a' })
  expect(world.said).toEqual(['close a', 'unload a', 'load b', 'grant 2'])
  expect(world.state.waiters.map(({ ticket }) => ticket)).toEqual([late])
})

test('one that was loaded stays nine times as long as that took, whoever waits', () => {
  const world = new World({ contextsMax: 1, stayPerLoad: 9, patienceMs: 0 })
  world.warm('a', 40, 100)
  world.acquire('b')
  expect(world.said).toEqual([])
  expect(nextTickMs(world.state, world.nowMs)).toBe(1_000)
  world.nowMs = 1_000
  world.step({ kind: 'tick' })
  expect(world.said).toEqual(['close a', 'unload a'])
})

test('one over the bound is refused with its size, and so is one waiter too many', () => {
  const world = new World({ contextsMax: 1, waitersMax: 1, patienceMs: Infinity })
  const [effect] = world.step({ kind: 'acquire', ticket: 9, contextId: 'huge', estimateBytes: 101 })
  expect(effect).toMatchObject({ kind: 'refuse', why: expect.stringContaining('about 101 bytes') })
  world.acquire('a')
  world.acquire('b')
  world.said.length = 0
  const extra = world.acquire('c')
  expect(world.said).toEqual([`refuse ${extra}`])
})

test('who gives up leaves the queue, and what was loading for nobody else is dropped', () => {
  const world = new World({ contextsMax: 1, patienceMs: Infinity })
  const first = world.acquire('a')
  const second = world.acquire('b')
  world.acquire('c')
  world.step({ kind: 'release', ticket: second })
  world.step({ kind: 'release', ticket: first })
  world.step({ kind: 'unloaded', contextId: 'a' })
  expect(world.said).toEqual(['load a', 'grant 1', 'unload a', 'load c', 'grant 3'])
})

test('a load that fails makes place for the next', () => {
  const world = new World({ contextsMax: 1 })
  world.acquire('a')
  world.acquire('b')
  world.step({ kind: 'failed', contextId: 'a' })
  world.step({ kind: 'unloaded', contextId: 'a' })
  world.step({ kind: 'release', ticket: 1 })
  expect(world.said).toEqual(['load a', 'grant 1', 'unload a', 'load b', 'grant 2'])
})

test('when a process has grown, idle ones go at once; what it measured counts the next time', () => {
  const world = new World({ stayMsMin: 1_000_000 })
  world.warm('a', 40)
  world.acquire('b', 40)
  world.step({ kind: 'loaded', contextId: 'b' })
  world.said.length = 0
  world.step({ kind: 'measured', contextId: 'b', bytes: 65 })
  expect(world.said).toEqual(['close a', 'unload a'])
  world.step({ kind: 'unloaded', contextId: 'a' })
  world.step({ kind: 'evict', contextId: 'b', reason: 'told to' })
  world.step({ kind: 'unloaded', contextId: 'b' })
  world.acquire('b', 40)
  expect(world.state.residents.get('b')?.bytes).toBe(65)
})

test.each([{ memoryBytesMax: 0 }, { contextsMax: Number.NaN }, { stayMsMin: -1 }])(
  '%o is refused',
  (wrong) => {
    expect(() => createResidency({ ...PLAIN, ...wrong })).toThrow(RangeError)
  },
)

const LOAD_MS = { a: 10, b: 40, c: 200, d: 1_000 } as const
const BYTES = { a: 20, b: 35, c: 60, d: 100 } as const
type Name = keyof typeof LOAD_MS

interface Demand {
  contextId: Name
  atMs: number
  useMs: number
}

/** Plays demands with loads, uses and process ends that take their time; checks every step on its way. */
class Play {
  readonly #state: Residency
  readonly #demands: readonly Demand[]
  readonly #ahead: { atMs: number; event: ResidencyEvent }[]
  readonly #granted = new Set<number>()
  /** What each ticket uses that was granted and not released. */
  readonly #inUse = new Map<number, Name>()
  readonly loads: Name[] = []
  nowMs = 0

  constructor(demands: readonly Demand[], options: Partial<ResidencyOptions>) {
    this.#state = createResidency({ ...RESIDENCY_DEFAULTS, memoryBytesMax: 100, contextsMax: 3, ...options })
    this.#demands = demands
    this.#ahead = demands.map(({ contextId, atMs }, ticket) => ({
      atMs,
      event: { kind: 'acquire', ticket, contextId, estimateBytes: BYTES[contextId] },
    }))
  }

  run(): this {
    for (let event = this.#next(); event !== undefined; event = this.#next()) {
      if (event.kind === 'release') this.#inUse.delete(event.ticket)
      const used = new Set(this.#inUse.values())
      for (const effect of stepResidency(this.#state, event, this.nowMs)) this.#perform(effect, used)
      const residents = [...this.#state.residents.values()]
      expect(residents.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(100)
      expect(residents.length).toBeLessThanOrEqual(3)
    }
    expect(this.#granted.size, 'somebody waits for ever').toBe(this.#demands.length)
    return this
  }

  #next(): ResidencyEvent | undefined {
    this.#ahead.sort((left, right) => left.atMs - right.atMs)
    const tickMs = nextTickMs(this.#state, this.nowMs) ?? Infinity
    const nextMs = this.#ahead[0]?.atMs ?? Infinity
    if (tickMs === Infinity && nextMs === Infinity) return undefined
    this.nowMs = Math.min(tickMs, nextMs)
    return tickMs < nextMs ? { kind: 'tick' } : this.#ahead.shift()?.event
  }

  #perform(effect: ResidencyEffect, used: ReadonlySet<Name>): void {
    const contextId = effect.contextId as Name
    if (effect.kind === 'load') {
      this.loads.push(contextId)
      this.#after(LOAD_MS[contextId], { kind: 'loaded', contextId })
    } else if (effect.kind === 'grant') {
      expect(this.#granted.has(effect.ticket)).toBe(false)
      this.#granted.add(effect.ticket)
      this.#inUse.set(effect.ticket, contextId)
      const { useMs } = this.#demands[effect.ticket] as Demand
      this.#after(LOAD_MS[contextId] + useMs, { kind: 'release', ticket: effect.ticket })
    } else if (effect.kind === 'unload') {
      expect(used.has(contextId), `${contextId} was in use`).toBe(false)
      this.#after(5, { kind: 'unloaded', contextId })
    }
  }

  #after(afterMs: number, event: ResidencyEvent): void {
    this.#ahead.push({ atMs: this.nowMs + afterMs, event })
  }
}

const demands: fc.Arbitrary<Demand[]> = fc.array(
  fc.record({
    contextId: fc.constantFrom<Name>('a', 'b', 'c', 'd'),
    atMs: fc.integer({ min: 0, max: 20_000 }),
    useMs: fc.integer({ min: 0, max: 3_000 }),
  }),
  { maxLength: 60 },
)

test.each([{}, { stayMsMin: 0, idleMsMin: 0, patienceMs: 0 }, { patienceMs: Infinity }])(
  'whatever is asked: never over the bound, none in use goes, everybody is served (%o)',
  (options) => {
    fc.assert(fc.property(demands, (asked) => void new Play(asked, options).run()))
  },
)

test('however demand alternates, no context spends more than a tenth of the time in reloading', () => {
  const alternating = fc.record({
    everyMs: fc.integer({ min: 1, max: 500 }),
    useMs: fc.integer({ min: 0, max: 200 }),
    contexts: fc.constantFrom<Name[]>(['c', 'd'], ['b', 'd'], ['a', 'd', 'c', 'd']),
  })
  fc.assert(
    fc.property(alternating, ({ everyMs, useMs, contexts }) => {
      const asked = Array.from({ length: 100 }, (_, index) => ({
        contextId: contexts[index % contexts.length] as Name,
        atMs: index * everyMs,
        useMs,
      }))
      // Each of them drives d out, and d them.
      const { nowMs, loads } = new Play(asked, { stayMsMin: 0, idleMsMin: 0, patienceMs: 0 }).run()
      for (const contextId of contexts) {
        const reloads = loads.filter((loaded) => loaded === contextId).length - 1
        expect(reloads * LOAD_MS[contextId]).toBeLessThanOrEqual(nowMs / 10)
      }
    }),
    { numRuns: 30 },
  )
})
