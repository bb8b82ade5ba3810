import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CHUNK_BYTES, UPLOADS_ACTIVE_MAX } from '../../../../src/base/limits.ts'
import {
  BURST_MS,
  BUSY_AFTER_MS,
  REPLICATION_SHARE,
  UPLOAD_WEIGHTS,
  type UploadClass,
  type UploadEvent,
  newUploadBudget,
  stepUpload,
} from '../../../../src/context-sharing/upload/core/upload-budget.ts'

interface Grant {
  atMs: number
  peer: string
  uploadClass: UploadClass
  bytes: number
}

interface Downloader {
  peer: string
  uploadClass: UploadClass
  /** Bytes of its chunks, and streams that it asks on at once. */
  bytes: number
  streams: number
}

/** Downloaders that always want more, on virtual time: each asks again once it was served or refused. */
class World {
  readonly grants: Grant[] = []
  readonly refused: string[] = []
  readonly #budget
  readonly #asks = new Map<number, Downloader>()
  #queue: { atMs: number; run: () => void }[] = []
  #wakeAtMs = Infinity
  #nextId = 0
  nowMs = 0
  readonly sendMs: number

  constructor(options: { cap?: number; activeMax?: number; sendMs?: number }) {
    this.sendMs = options.sendMs ?? 1
    this.#budget = newUploadBudget(options.activeMax ?? UPLOADS_ACTIVE_MAX)
    if (options.cap !== undefined) this.step({ kind: 'cap', bytesPerSecond: options.cap })
  }

  add(downloader: Downloader): void {
    for (let stream = 0; stream < downloader.streams; stream += 1) this.#ask(downloader)
  }

  later(delayMs: number, run: () => void): void {
    this.#queue.push({ atMs: this.nowMs + delayMs, run })
  }

  step(event: UploadEvent): void {
    for (const effect of stepUpload(this.#budget, event, this.nowMs)) {
      if (effect.kind === 'wake') {
        this.#wakeAtMs = this.nowMs + effect.afterMs
        continue
      }
      const downloader = this.#asks.get(effect.id)!
      this.#asks.delete(effect.id)
      if (effect.kind === 'grant') this.#granted(effect.id, downloader)
      else {
        this.refused.push(downloader.peer)
        this.later(effect.retryMs, () => this.#ask(downloader))
      }
    }
  }

  run(untilMs: number): void {
    for (;;) {
      this.#queue.sort((left, right) => left.atMs - right.atMs)
      const next = this.#queue[0]
      const atMs = Math.min(next?.atMs ?? Infinity, this.#wakeAtMs)
      if (atMs > untilMs) return
      this.nowMs = atMs
      if (next !== undefined && next.atMs === atMs) {
        this.#queue.shift()
        next.run()
      } else {
        this.#wakeAtMs = Infinity
        this.step({ kind: 'tick' })
      }
    }
  }

  bytesOf(peer: string): number {
    return this.grants.reduce((sum, grant) => sum + (grant.peer === peer ? grant.bytes : 0), 0)
  }

  /** Whether somebody could be served now and is not. */
  get isIdle(): boolean {
    const waiting = [...this.#asks.values()].filter(({ uploadClass }) => uploadClass !== 'background')
    const tokens = this.#budget.total?.tokens ?? Infinity
    return (
      this.#budget.active.size < this.#budget.activeMax &&
      waiting.length > 0 &&
      waiting.every(({ bytes }) => bytes <= tokens)
    )
  }

  #ask(downloader: Downloader): void {
    const id = (this.#nextId += 1)
    this.#asks.set(id, downloader)
    const { peer, uploadClass, bytes } = downloader
    this.step({ kind: 'ask', id, peer, uploadClass, bytes })
  }

  #granted(id: number, downloader: Downloader): void {
    const { peer, uploadClass, bytes } = downloader
    this.grants.push({ atMs: this.nowMs, peer, uploadClass, bytes })
    this.later(this.sendMs, () => {
      this.step({ kind: 'done', id })
      this.#ask(downloader)
    })
  }
}

/** The most that was sent in any window of the length given. */
function mostIn(grants: readonly Grant[], windowMs: number): number {
  let most = 0
  let sum = 0
  let from = 0
  for (const grant of grants) {
    sum += grant.bytes
    while (grants[from]!.atMs <= grant.atMs - windowMs) sum -= grants[from++]!.bytes
    most = Math.max(most, sum)
  }
  return most
}

const classes = Object.keys(UPLOAD_WEIGHTS) as UploadClass[]
const downloaders = fc
  .array(
    fc.record({
      uploadClass: fc.constantFrom(...classes),
      bytes: fc.integer({ min: CHUNK_BYTES / 4, max: CHUNK_BYTES }),
      streams: fc.integer({ min: 1, max: 4 }),
    }),
    { minLength: 1, maxLength: 8 },
  )
  .map((all) => all.map((each, index) => ({ ...each, peer: `peer-${index}` })))
const caps = fc.integer({ min: 200_000, max: 40_000_000 })

function worldOf(all: readonly Downloader[], options: ConstructorParameters<typeof World>[0]): World {
  const world = new World(options)
  for (const downloader of all) world.add(downloader)
  return world
}

describe('among any downloaders', () => {
  it('no window of time sees more than the cap, nor spare copies more than their share of it', () => {
    fc.assert(
      fc.property(downloaders, caps, (all, cap) => {
        const world = worldOf(all, { cap })
        world.run(20_000)
        const spare = world.grants.filter(({ uploadClass }) => uploadClass === 'background')
        for (const windowMs of [1, 100, 1000, 5000, 20_000]) {
          const bound = (rate: number): number => CHUNK_BYTES + (rate * (windowMs + BURST_MS)) / 1000 + 1
          expect(mostIn(world.grants, windowMs)).toBeLessThanOrEqual(bound(cap))
          expect(mostIn(spare, windowMs)).toBeLessThanOrEqual(bound(cap * REPLICATION_SHARE))
        }
      }),
      { numRuns: 60 },
    )
  })

  it('nobody starves: each is served again and again, however many wait', () => {
    fc.assert(
      fc.property(downloaders, caps, (all, cap) => {
        const world = worldOf(all, { cap })
        // Three times what one round takes at the smallest share, the waits of those refused included.
        const weights = all.reduce((sum, { uploadClass }) => sum + UPLOAD_WEIGHTS[uploadClass], 0)
        const roundMs = (weights * 2 * CHUNK_BYTES * 1000) / (cap * REPLICATION_SHARE)
        const untilMs = 3 * (roundMs + BUSY_AFTER_MS)
        world.run(untilMs)
        const first = new Set(world.grants.filter(({ atMs }) => atMs < untilMs / 2).map(({ peer }) => peer))
        const last = new Set(world.grants.filter(({ atMs }) => atMs >= untilMs / 2).map(({ peer }) => peer))
        expect(first.size).toBe(all.length)
        expect(last.size).toBe(all.length)
      }),
      { numRuns: 20 },
    )
  })

  it('the whole cap is used while any peer wants chunks', () => {
    fc.assert(
      fc.property(downloaders, caps, (all, cap) => {
        const wanting = all.map((each) => ({ ...each, uploadClass: 'normal' as const }))
        const world = worldOf(wanting, { cap, sendMs: 0.01 })
        for (let untilMs = 100; untilMs <= 20_000; untilMs += 100) {
          world.run(untilMs)
          expect(world.isIdle).toBe(false)
        }
      }),
      { numRuns: 40 },
    )
  })
})

const equal = { bytes: CHUNK_BYTES, streams: 1 }

describe('shares', () => {
  it('go by weight: a peer that says "urgent" gets twice a normal one’s, and no more', () => {
    const world = worldOf(
      [
        { peer: 'liar', uploadClass: 'urgent', ...equal },
        { peer: 'honest', uploadClass: 'normal', ...equal },
        { peer: 'other', uploadClass: 'normal', ...equal },
      ],
      { cap: 10 * CHUNK_BYTES },
    )
    world.run(60_000)
    expect(world.bytesOf('liar') / world.bytesOf('honest')).toBeCloseTo(2, 1)
    expect(world.bytesOf('honest') / world.bytesOf('other')).toBeCloseTo(1, 1)
  })

  it('are a peer’s, not a stream’s', () => {
    const world = worldOf(
      [
        { peer: 'greedy', uploadClass: 'normal', bytes: CHUNK_BYTES, streams: 4 },
        { peer: 'modest', uploadClass: 'normal', ...equal },
      ],
      { cap: 10 * CHUNK_BYTES },
    )
    world.run(60_000)
    expect(world.bytesOf('greedy') / world.bytesOf('modest')).toBeCloseTo(1, 1)
  })

  it('of spare copies are a quarter of the cap, although nobody else wants the rest', () => {
    const world = worldOf([{ peer: 'spare', uploadClass: 'background', ...equal }], {
      cap: 8 * CHUNK_BYTES,
    })
    world.run(60_000)
    expect(world.bytesOf('spare') / (60 * 8 * CHUNK_BYTES)).toBeCloseTo(REPLICATION_SHARE, 1)
  })
})

describe('a peer', () => {
  it('whose turn does not come in time is sent elsewhere, and is first when it comes back', () => {
    const world = new World({ cap: CHUNK_BYTES / 2 })
    for (let n = 0; n < 6; n += 1) world.add({ peer: `peer-${n}`, uploadClass: 'normal', ...equal })
    world.run(30_000)
    expect(world.refused.length).toBeGreaterThan(0)
    const served = new Set(world.grants.map(({ peer }) => peer))
    expect(served.size).toBe(6)
  })

  it('is not served beyond the slots', () => {
    const budget = newUploadBudget(UPLOADS_ACTIVE_MAX)
    const grants = Array.from({ length: UPLOADS_ACTIVE_MAX + 3 }, (_value, id) =>
      stepUpload(budget, { kind: 'ask', id, peer: `p${id}`, uploadClass: 'normal', bytes: 1 }, 0),
    ).flat()
    expect(grants.filter(({ kind }) => kind === 'grant')).toHaveLength(UPLOADS_ACTIVE_MAX)
    expect(stepUpload(budget, { kind: 'done', id: 0 }, 1)[0]).toEqual({
      kind: 'grant',
      id: UPLOADS_ACTIVE_MAX,
    })
  })

  it('that gives its grant back costs the others nothing', () => {
    const budget = newUploadBudget(1)
    stepUpload(budget, { kind: 'cap', bytesPerSecond: 1000 }, 0)
    const ask = (id: number, peer: string): UploadEvent =>
      ({ kind: 'ask', id, peer, uploadClass: 'background', bytes: CHUNK_BYTES }) as const
    expect(stepUpload(budget, ask(1, 'a'), 0)).toContainEqual({ kind: 'grant', id: 1 })
    expect(stepUpload(budget, ask(2, 'b'), 0)).not.toContainEqual({ kind: 'grant', id: 2 })
    expect(stepUpload(budget, { kind: 'refund', id: 1 }, 0)).toContainEqual({ kind: 'grant', id: 2 })
  })

  it('gets nothing more once the month is spent, and is told to come back late', () => {
    const budget = newUploadBudget(UPLOADS_ACTIVE_MAX)
    const ask = (id: number): UploadEvent =>
      ({ kind: 'ask', id, peer: 'a', uploadClass: 'drain', bytes: CHUNK_BYTES }) as const
    stepUpload(budget, { kind: 'month', leftBytes: CHUNK_BYTES, isSpent: false }, 0)
    expect(stepUpload(budget, ask(1), 0)).toEqual([{ kind: 'grant', id: 1 }])
    expect(stepUpload(budget, ask(2), 0)).not.toContainEqual({ kind: 'grant', id: 2 })
    expect(stepUpload(budget, { kind: 'month', leftBytes: 0, isSpent: true }, 0)).toEqual([
      { kind: 'refuse', id: 2, retryMs: 60_000, reason: 'month' },
    ])
  })
})
