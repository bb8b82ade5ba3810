import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  CAPACITY_TOKENS_MIN,
  capacityFor,
  SlotScheduler,
  type SlotSchedulerOptions,
  type Step,
} from '../../../../src/inference/batching/core/slot-scheduler.ts'

const OPTIONS: SlotSchedulerOptions = {
  slots: 4,
  prefillTokensMax: 64,
  tokenBytes: 100,
  storeBytesMax: 1e9,
}

interface Request {
  promptLength: number
  outputLength: number
  prefixLength: number
  /** The step before which it is added, and after which it is cancelled. */
  addedAt: number
  cancelledAt: number
}

/** A model that computes nothing, and checks that every step is possible and leads on. */
class Machine {
  readonly scheduler: SlotScheduler
  readonly steps: Step[] = []
  readonly outputs = new Map<number, number>()
  readonly finished = new Set<number>()
  readonly #options: SlotSchedulerOptions
  /** What each slot holds: whose tokens, and how many. */
  readonly #slots: ({ sequence: number; tokens: number } | undefined)[]
  readonly #requests = new Map<number, Request>()

  constructor(options: SlotSchedulerOptions) {
    this.#options = options
    this.scheduler = new SlotScheduler(options)
    this.#slots = Array.from({ length: options.slots })
  }

  add(id: number, request: Request): void {
    const { promptLength, outputLength, prefixLength } = request
    const prefix = prefixLength === 0 ? undefined : { id: prefixLength, length: prefixLength }
    this.#requests.set(id, request)
    this.outputs.set(id, 0)
    this.scheduler.add(id, promptLength, outputLength, prefix)
  }

  remove(id: number): void {
    this.finished.add(id)
    this.scheduler.remove(id)
    const slot = this.#slots.findIndex((held) => held?.sequence === id)
    if (slot >= 0) this.#slots[slot] = undefined
  }

  /** Carries out one step. False when there is nothing to do. */
  step(): boolean {
    const step = this.scheduler.next()
    this.steps.push(step)
    if (step.kind === 'wait') return false
    if (step.kind === 'move') this.#move(step)
    else if (step.kind === 'prefill') this.#prefill(step)
    else this.#decode(step)
    return true
  }

  #move({ sequence, from, to }: Extract<Step, { kind: 'move' }>): void {
    expect(this.#slots[from]?.sequence).toBe(sequence)
    expect(this.#slots[to]).toBeUndefined()
    expect(to).toBeLessThan(from)
    this.#slots[to] = this.#slots[from]
    this.#slots[from] = undefined
  }

  #prefill({ rows, prefix, capacity }: Extract<Step, { kind: 'prefill' }>): void {
    const padded = Math.max(...rows.map(({ count }) => count)) * rows.length
    expect(padded).toBeLessThanOrEqual(this.#options.prefillTokensMax)
    for (const { sequence, slot, from, count, isLast } of rows) {
      const { promptLength, prefixLength } = this.#requests.get(sequence) as Request
      const held = this.#slots[slot]
      if (held === undefined) expect(from).toBe(prefixLength)
      else expect(held).toEqual({ sequence, tokens: from })
      if (rows.length > 1) expect(from).toBe(prefix ?? 0)
      expect(count).toBeGreaterThan(0)
      expect(isLast).toBe(from + count === promptLength)
      expect(from + count).toBeLessThanOrEqual(capacity)
      this.#slots[slot] = { sequence, tokens: from + count }
      if (isLast) this.#output(sequence)
    }
  }

  #decode({ rows, span, capacity }: Extract<Step, { kind: 'decode' }>): void {
    expect(rows.length).toBeGreaterThan(0)
    for (const { sequence, slot, from } of rows) {
      expect(this.#slots[slot]).toEqual({ sequence, tokens: from })
      expect(slot).toBeLessThan(span)
      expect(from).toBeLessThan(capacity)
      this.#slots[slot] = { sequence, tokens: from + 1 }
      this.#output(sequence)
    }
  }

  #output(sequence: number): void {
    expect(this.finished.has(sequence)).toBe(false)
    const outputs = (this.outputs.get(sequence) ?? 0) + 1
    this.outputs.set(sequence, outputs)
    if (outputs === this.#requests.get(sequence)?.outputLength) this.remove(sequence)
  }
}

const request = fc
  .record({
    promptLength: fc.integer({ min: 1, max: 300 }),
    outputLength: fc.integer({ min: 1, max: 12 }),
    prefixLength: fc.constantFrom(0, 0, 16, 40),
    addedAt: fc.integer({ min: 0, max: 40 }),
    cancelledAt: fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 80 })),
  })
  .map((one) => ({ ...one, prefixLength: one.prefixLength < one.promptLength ? one.prefixLength : 0 }))

const options = fc.record({
  slots: fc.integer({ min: 1, max: 6 }),
  prefillTokensMax: fc.constantFrom(16, 64, 512),
  tokenBytes: fc.constant(100),
  storeBytesMax: fc.constantFrom(1, 30_000, 1e9),
})

test('every sequence gets all its tokens, in slots of its own, whatever comes and goes', () => {
  fc.assert(
    fc.property(options, fc.array(request, { maxLength: 24 }), (settings, requests) => {
      const machine = new Machine(settings)
      const work = requests.reduce((sum, one) => sum + one.promptLength + one.outputLength, 0)
      for (let time = 0; time < work * 3 + 200; time += 1) {
        for (const [id, one] of requests.entries()) {
          if (one.addedAt === time) machine.add(id, one)
          if (one.cancelledAt === time && one.addedAt <= time) machine.remove(id)
        }
        machine.step()
      }
      for (const [id, { outputLength, cancelledAt, addedAt }] of requests.entries()) {
        expect(machine.finished.has(id)).toBe(true)
        if (cancelledAt === Infinity || cancelledAt < addedAt)
          expect(machine.outputs.get(id)).toBe(outputLength)
      }
      expect(machine.scheduler.activeCount + machine.scheduler.waitingCount).toBe(0)
    }),
    { numRuns: 300 },
  )
})

test('the store stays within its bytes, but one sequence always runs', () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 24 }), (requests) => {
      const machine = new Machine({ ...OPTIONS, storeBytesMax: 4 * 128 * 100 })
      for (const [id, one] of requests.entries()) machine.add(id, one)
      while (machine.step()) {
        const step = machine.steps.at(-1)
        if (step?.kind !== 'decode' || step.span === 1) continue
        expect(step.rows.length * step.capacity).toBeLessThanOrEqual(4 * 128 * 4)
      }
    }),
  )
})

const addAll = (machine: Machine, lengths: number[], outputLength = 5): void => {
  for (const [id, promptLength] of lengths.entries()) {
    machine.add(id, { promptLength, outputLength, prefixLength: 0, addedAt: 0, cancelledAt: Infinity })
  }
}

test('prompts of like length share a step, others do not', () => {
  const machine = new Machine({ ...OPTIONS, slots: 8, prefillTokensMax: 512 })
  addAll(machine, [50, 8, 52, 200, 51])
  while (machine.step());
  const prefills = machine.steps.filter((step) => step.kind === 'prefill')
  expect(prefills.map(({ rows }) => rows.map(({ sequence }) => sequence))).toEqual([[0, 2, 4], [1], [3]])
})

test('a long prompt is computed in parts, and those who run go on in between', () => {
  const machine = new Machine(OPTIONS)
  addAll(machine, [10], 100)
  machine.step()
  machine.add(1, {
    promptLength: 64 * 6,
    outputLength: 1,
    prefixLength: 0,
    addedAt: 0,
    cancelledAt: Infinity,
  })
  while (!machine.finished.has(1)) machine.step()
  const kinds = machine.steps.map(({ kind }) => kind).join(' ')
  expect(kinds).toMatch(/prefill (prefill ){0,4}decode prefill/)
  expect(kinds).not.toMatch(/(prefill ?){6}/)
})

test('a slot that falls free is filled by the last, so that decoding spans no holes', () => {
  const machine = new Machine(OPTIONS)
  for (const [id, outputLength] of [2, 20, 20, 20].entries()) {
    machine.add(id, { promptLength: 9, outputLength, prefixLength: 0, addedAt: 0, cancelledAt: Infinity })
  }
  while (machine.step());
  expect(machine.steps).toContainEqual({ kind: 'move', sequence: 3, from: 3, to: 0 })
  const spans = machine.steps.flatMap((step) =>
    step.kind === 'decode' ? [step.span - step.rows.length] : [],
  )
  expect(Math.max(...spans)).toBe(0)
})

test.each([
  [1, 64],
  [64, 64],
  [65, 128],
  [200, 256],
  [257, 320],
  [400, 448],
  [600, 640],
])('%i tokens fit a capacity of %i', (length, capacity) => {
  expect(capacityFor(length)).toBe(capacity)
  expect(capacity % CAPACITY_TOKENS_MIN).toBe(0)
})
