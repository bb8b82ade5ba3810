import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FETCH_CANDIDATES_MAX, FETCH_SOURCES_MAX } from '../../../../src/base/limits.ts'
import { seededRandom } from '../../../../src/base/random.ts'
import { Bitfield } from '../../../../src/context-sharing/content/bitfield.ts'
import {
  type DownloadEffect,
  type DownloadEvent,
  newDownload,
  step,
} from '../../../../src/context-sharing/download/core/download.ts'
import { DownloadWorld, type WorldPeer } from '../../../../testing/virtual/download-world.ts'

const MIB = 1024 * 1024

const honest: WorldPeer = { kind: 'honest', share: 1, bytesPerSecond: 10 * MIB, latencyMs: 10 }

function world(peers: WorldPeer[], chunks = 40, seed = 1): ReturnType<DownloadWorld['run']> {
  return new DownloadWorld({ chunks, peers, seed }).run()
}

const anyPeer: fc.Arbitrary<WorldPeer> = fc.record({
  kind: fc.constantFrom('honest', 'corrupt', 'mute', 'refusing', 'busy', 'leaving', 'unreachable'),
  share: fc.constantFrom(0, 0.1, 0.5, 1),
  bytesPerSecond: fc.constantFrom(64 * 1024, MIB, 20 * MIB, 200 * MIB),
  latencyMs: fc.constantFrom(1, 40, 300),
})

describe('a download among any peers', () => {
  it('completes whenever one honest source with everything stays, and bans liars only', () => {
    fc.assert(
      fc.property(
        fc.array(anyPeer, { maxLength: 14 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 0, max: 1_000_000 }),
        fc.nat(14),
        (others, chunks, seed, place) => {
          const peers = [...others.slice(0, place), honest, ...others.slice(place)]
          const result = new DownloadWorld({ chunks, peers, seed }).run()
          expect(result.outcome).toBe('complete')
        },
      ),
      { numRuns: 200 },
    )
  })

  it('always ends, and says why when it does not complete', () => {
    fc.assert(
      fc.property(
        fc.array(anyPeer, { maxLength: 10 }),
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 0, max: 1_000_000 }),
        (peers, chunks, seed) => {
          const result = new DownloadWorld({ chunks, peers, seed, unavailableAfterMs: 20_000 }).run()
          if (result.outcome === 'give-up') expect(result.reason).toMatch(/chunks are missing/)
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('a download', () => {
  it('gets its last chunk past peers that never send, and peers that always put it off', () => {
    const slow = { bytesPerSecond: 64 * 1024, latencyMs: 1 }
    const mute: WorldPeer = { ...slow, kind: 'mute', share: 0.5 }
    const busy: WorldPeer = { ...slow, kind: 'busy', share: 1 }
    const corrupt: WorldPeer = { ...slow, kind: 'corrupt', share: 1 }
    const idle: WorldPeer = { ...slow, kind: 'honest', share: 0 }
    const refusing: WorldPeer = { ...slow, kind: 'refusing', share: 1 }
    const peers = [
      corrupt,
      { ...busy, share: 0.1 },
      { ...busy, latencyMs: 300 },
      mute,
      mute,
      idle,
      { ...corrupt, share: 0.5, bytesPerSecond: 200 * MIB, latencyMs: 300 },
      refusing,
      idle,
      honest,
    ]
    expect(world(peers, 13, 461_350)).toMatchObject({ outcome: 'complete' })
  })

  it('asks one good source for each chunk once', () => {
    expect(world([honest])).toMatchObject({ outcome: 'complete', requests: 40 })
  })

  it('draws on several sources in proportion to their rates', () => {
    const { deliveredBy } = world([honest, { ...honest, bytesPerSecond: 30 * MIB }], 200)
    const [slow, fast] = [deliveredBy.get('peer-0') ?? 0, deliveredBy.get('peer-1') ?? 0]
    expect(fast / slow).toBeGreaterThan(2)
    expect(fast / slow).toBeLessThan(4)
  })

  it('is not held up at its end by a slow source', () => {
    const alone = world([honest])
    const withSlow = world([honest, { ...honest, bytesPerSecond: 64 * 1024 }])
    expect(withSlow.elapsedMs).toBeLessThan(alone.elapsedMs * 1.3)
    expect(withSlow.requests).toBeLessThanOrEqual(44)
  })

  it('takes chunks from another source when one goes mute', () => {
    const { outcome, elapsedMs } = world([honest, { ...honest, kind: 'mute' }])
    expect(outcome).toBe('complete')
    expect(elapsedMs).toBeLessThan(10_000)
  })

  it('bans a corrupt source after two bad chunks', () => {
    const { banned, corrupt } = world([honest, { ...honest, kind: 'corrupt' }])
    expect(banned).toEqual(['peer-1'])
    expect(corrupt).toBeLessThanOrEqual(4)
  })

  it('gives up with a reason when nobody holds the context', () => {
    const result = world([])
    expect(result.outcome).toBe('give-up')
    expect(result.reason).toContain('no known peer')
    expect(result.elapsedMs).toBeGreaterThanOrEqual(120_000)
  })

  it('finds an honest source behind eight that give nothing', () => {
    const busy: WorldPeer = { ...honest, kind: 'busy' }
    const useless: WorldPeer = { ...honest, share: 0 }
    for (let seed = 1; seed <= 20; seed += 1) {
      const peers = [busy, useless, useless, busy, useless, busy, useless, useless, useless, useless, useless]
      expect(world([...peers, ...peers, honest], 5, seed).outcome).toBe('complete')
    }
  })

  it('waits for a slow source as long as bytes come', () => {
    const slow = { ...honest, bytesPerSecond: 64 * 1024 }
    const result = new DownloadWorld({ chunks: 3, peers: [slow], seed: 1, unavailableAfterMs: 6000 }).run()
    expect(result.outcome).toBe('complete')
    expect(result.elapsedMs).toBeGreaterThan(40_000)
  })
})

describe('one step', () => {
  const random = seededRandom(7)
  const start = (chunks: number): ReturnType<typeof newDownload> => {
    const lengths = new Uint32Array(chunks).fill(MIB)
    const download = newDownload(
      lengths,
      Array.from(lengths, (_length, chunk) => chunk),
      [],
      {
        unavailableAfterMs: 60_000,
      },
    )
    step(download, { kind: 'start' }, 0, random)
    return download
  }
  const open = (
    download: ReturnType<typeof newDownload>,
    peer: string,
    chunks: number[],
  ): DownloadEffect[] => {
    step(download, { kind: 'holders-found', peers: [peer], wasAsked: true }, 0, random)
    const has = new Bitfield(download.lengths.length)
    for (const chunk of chunks) has.add(chunk)
    return step(download, { kind: 'source-open', peer, has, roundTripMs: 10 }, 0, random)
  }
  const requested = (effects: DownloadEffect[]): number[] =>
    effects.flatMap((effect) => (effect.kind === 'request' ? effect.chunks : []))

  it('takes the rarest chunk first', () => {
    const download = start(4)
    open(download, 'idle', [])
    step(
      download,
      { kind: 'source-busy', peer: 'idle', chunks: [], retryMs: 9000, alternatives: [] },
      0,
      random,
    )
    step(download, { kind: 'source-has', peer: 'idle', chunks: [0, 1, 3] }, 0, random)
    expect(requested(open(download, 'all', [0, 1, 2, 3]))[0]).toBe(2)
  })

  it('counts what others claim as less rare', () => {
    const download = start(3)
    step(download, { kind: 'claimed', chunks: [0, 2] }, 0, random)
    expect(requested(open(download, 'all', [0, 1, 2]))[0]).toBe(1)
  })

  it('forgets claims that did not come true', () => {
    const download = start(3)
    step(download, { kind: 'claimed', chunks: [0, 1] }, 0, random)
    step(download, { kind: 'claimed', chunks: [2] }, 9000, random)
    step(download, { kind: 'tick' }, 11_000, random)
    expect([0, 1]).toContain(requested(open(download, 'all', [0, 1, 2]))[0])
  })

  it('tells sources that fetch the context themselves what is in flight', () => {
    const download = start(4)
    open(download, 'partial', [0])
    const effects = open(download, 'all', [0, 1, 2, 3])
    expect(effects.filter(({ kind }) => kind === 'claim')).toEqual([
      { kind: 'claim', peer: 'partial', chunks: requested(effects) },
    ])
  })

  it('cancels the other copy of a chunk that is here', () => {
    const download = start(1)
    open(download, 'slow', [0])
    open(download, 'fast', [0])
    const hedge = step(download, { kind: 'tick' }, 4500, random)
    expect(hedge).toContainEqual({ kind: 'request', peer: 'fast', chunks: [0] })
    const effects = step(download, { kind: 'chunk-held', from: 'fast', chunk: 0 }, 4600, random)
    expect(effects).toEqual([{ kind: 'cancel', peer: 'slow', chunks: [0] }, { kind: 'complete' }])
  })

  it('does not ask twice for a chunk that is in flight and not late', () => {
    const download = start(8)
    open(download, 'one', [0, 1, 2, 3, 4, 5, 6, 7])
    open(download, 'two', [0, 1, 2, 3, 4, 5, 6, 7])
    for (const nowMs of [250, 1000, 3000, 3900]) {
      expect(requested(step(download, { kind: 'tick' }, nowMs, random))).toEqual([])
    }
  })

  it('asks another source at once for what one refuses', () => {
    const download = start(1)
    const [chunk] = requested(open(download, 'refuses', [0]))
    open(download, 'other', [0])
    const effects = step(download, { kind: 'chunks-refused', peer: 'refuses', chunks: [chunk!] }, 10, random)
    expect(effects).toContainEqual({ kind: 'request', peer: 'other', chunks: [0] })
  })

  it('takes all but one chunk back from a source that stalls', () => {
    const download = start(2)
    const asked = requested(open(download, 'mute', [0, 1]))
    expect(asked).toHaveLength(2)
    const effects = step(download, { kind: 'tick' }, 5100, random)
    expect(effects).toContainEqual({ kind: 'cancel', peer: 'mute', chunks: [asked[1]] })
    expect(requested(open(download, 'other', [0, 1]))).toEqual([asked[1]])
  })

  it('does not take chunks that came in another way', () => {
    const download = start(2)
    step(download, { kind: 'chunk-held', chunk: 0, from: undefined }, 0, random)
    expect(requested(open(download, 'all', [0, 1]))).toEqual([1])
  })

  it('completes at once when nothing is missing', () => {
    const download = newDownload(new Uint32Array(3), [], [], { unavailableAfterMs: 1 })
    expect(step(download, { kind: 'start' }, 0, random)).toContainEqual({ kind: 'complete' })
  })

  it('keeps at most 8 sources and 256 possible ones', () => {
    const download = start(2)
    const peers = Array.from({ length: 1000 }, (_value, index) => `peer-${index}`)
    const effects = step(download, { kind: 'holders-found', peers, wasAsked: true }, 0, random)
    expect(effects.filter(({ kind }) => kind === 'connect')).toHaveLength(FETCH_SOURCES_MAX)
    expect(download.candidates.size).toBe(FETCH_CANDIDATES_MAX)
  })
})

describe('more peers than a fetch has sources', () => {
  const names = Array.from({ length: FETCH_SOURCES_MAX + 1 }, (_value, index) => `peer-${index}`)
  const all = [...Array(400).keys()]

  /** Eight sources are open, each slower than the one before, and a ninth peer is known. */
  function fetchFromEight(has: (source: number) => Bitfield): {
    take: (event: DownloadEvent, nowMs: number) => DownloadEffect[]
    slowest: string
    untried: string
    asked: number[]
  } {
    const random = seededRandom(1)
    const download = newDownload(new Uint32Array(400).fill(MIB), all, [], { unavailableAfterMs: 60_000 })
    const take = (event: DownloadEvent, nowMs: number): DownloadEffect[] =>
      step(download, event, nowMs, random)
    take({ kind: 'start' }, 0)
    const open = take({ kind: 'holders-found', peers: names, wasAsked: true }, 0).flatMap((effect) =>
      effect.kind === 'connect' ? effect.peer : [],
    )
    for (const [source, peer] of open.entries())
      take({ kind: 'source-open', peer, has: has(source), roundTripMs: 1 }, 0)
    for (const [source, peer] of open.entries())
      take({ kind: 'bytes', peer, bytes: (10 - source) * 100_000 }, 1000)
    const slowest = open.at(-1) ?? ''
    const untried = names.find((name) => !open.includes(name)) ?? ''
    return { take, slowest, untried, asked: [...(download.sources.get(slowest)?.requests.keys() ?? [])] }
  }

  it('each gets its turn: the slowest source is left for it, once what was asked of it is here', () => {
    const { take, slowest, untried, asked } = fetchFromEight(() => Bitfield.full(400))
    expect(asked.length).toBeGreaterThan(0)
    expect(take({ kind: 'tick' }, 4500)).toEqual([])
    for (const chunk of asked) {
      const effects = take({ kind: 'chunk-held', from: slowest, chunk }, 4600)
      expect(effects).not.toContainEqual(expect.objectContaining({ kind: 'request', peer: slowest }))
    }
    const effects = take({ kind: 'tick' }, 4750)
    expect(effects).toContainEqual(expect.objectContaining({ kind: 'close', peer: slowest }))
    expect(effects).toContainEqual({ kind: 'connect', peer: untried })
  })

  it('one that alone has something missing stays, however slow', () => {
    const half = new Bitfield(400)
    for (const chunk of all.slice(0, 200)) half.add(chunk)
    const { take, slowest, asked } = fetchFromEight((source) =>
      source === FETCH_SOURCES_MAX - 1 ? Bitfield.full(400) : half,
    )
    take({ kind: 'tick' }, 4500)
    const effects = asked.flatMap((chunk) => take({ kind: 'chunk-held', from: slowest, chunk }, 4600))
    expect(effects).toContainEqual(expect.objectContaining({ kind: 'request', peer: slowest }))
  })
})
