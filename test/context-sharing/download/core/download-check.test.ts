import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CHUNK_BYTES } from '../../../../src/base/limits.ts'
import { type Random, randomInteger, seededRandom } from '../../../../src/base/random.ts'
import { Bitfield } from '../../../../src/context-sharing/content/bitfield.ts'
import { checkDownload } from '../../../../src/context-sharing/download/core/download-check.ts'
import {
  type Download,
  type DownloadEvent,
  newDownload,
  step,
} from '../../../../src/context-sharing/download/core/download.ts'
import { type Source, newSource, openSource } from '../../../../src/context-sharing/download/core/source.ts'

const CHUNKS = 12
const PEERS = 14
const UNAVAILABLE_MS = 600_000

function downloadOf(chunks: number): Download {
  const lengths = new Uint32Array(chunks).fill(CHUNK_BYTES)
  const wanted = Array.from(lengths, (_length, chunk) => chunk)
  return newDownload(lengths, wanted, [], { unavailableAfterMs: UNAVAILABLE_MS })
}

/** Any event that peers, late streams and the disk can cause, in any order. */
function anyEvent(random: Random): DownloadEvent {
  const peer = `peer-${randomInteger(random, PEERS)}`
  const chunk = randomInteger(random, CHUNKS)
  // Peers may name chunks that there are not.
  const named = Array.from({ length: randomInteger(random, 4) }, () => randomInteger(random, CHUNKS + 4) - 2)
  const has = new Bitfield(CHUNKS)
  for (let each = 0; each < CHUNKS; each += 1) if (random.next() < 0.6) has.add(each)
  const events: DownloadEvent[] = [
    { kind: 'tick' },
    { kind: 'source-open', peer, has, roundTripMs: randomInteger(random, 200) },
    { kind: 'source-open', peer, has, roundTripMs: 0 },
    { kind: 'source-has', peer, chunks: named },
    { kind: 'source-lost', peer, reason: 'it left' },
    { kind: 'bytes', peer, bytes: randomInteger(random, CHUNK_BYTES) },
    { kind: 'chunk-held', from: peer, chunk },
    { kind: 'chunk-corrupt', peer, chunk },
    { kind: 'chunks-refused', peer, chunks: named },
    {
      kind: 'source-busy',
      peer,
      chunks: named,
      retryMs: randomInteger(random, 40_000),
      alternatives: [peer],
    },
    { kind: 'claimed', chunks: named },
    { kind: 'holders-found', peers: [peer], wasAsked: random.next() < 0.5 },
  ]
  if (random.next() < 0.02) return { kind: 'chunk-held', chunk, from: undefined }
  return events[randomInteger(random, events.length)]!
}

test('any order of events leaves a state that holds', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = seededRandom(seed)
      const download = downloadOf(CHUNKS)
      let nowMs = 0
      step(download, { kind: 'start' }, nowMs, random)
      for (let n = 0; n < 250; n += 1) {
        nowMs += randomInteger(random, 3_000)
        step(download, anyEvent(random), nowMs, random)
      }
    }),
    { numRuns: 100 },
  )
})

test('a late word of an earlier stream does not count for a source that is not open yet', () => {
  const random = seededRandom(1)
  const download = downloadOf(2)
  step(download, { kind: 'holders-found', peers: ['a'], wasAsked: true }, 0, random)
  step(download, { kind: 'source-has', peer: 'a', chunks: [0, 1] }, 0, random)
  const opened = step(
    download,
    { kind: 'source-open', peer: 'a', has: new Bitfield(2, Uint8Array.of(0x80)), roundTripMs: 1 },
    0,
    random,
  )
  expect(opened).toEqual([{ kind: 'request', peer: 'a', chunks: [0] }])
})

test('a source that is open is not opened again', () => {
  const source = newSource('a', 0)
  openSource(source, 2, 1, 0)
  expect(() => openSource(source, 2, 1, 0)).toThrow('a source is opened once (peer=a)')
})

/** Peer a is asked for chunks 0 to 3, peer b connects. */
function busy(): Download {
  const random = seededRandom(1)
  const download = downloadOf(4)
  step(download, { kind: 'holders-found', peers: ['a', 'b'], wasAsked: true }, 0, random)
  step(download, { kind: 'source-open', peer: 'a', has: Bitfield.full(4), roundTripMs: 1 }, 0, random)
  return download
}

describe('the pool refuses', () => {
  const misuses: [string, (download: Download) => unknown, string][] = [
    ['a chunk that is here already', ({ pool }) => (pool.hold(0), pool.hold(0)), 'to be here once'],
    ['to take back what nobody was asked for', ({ pool }) => (pool.hold(0), pool.release(0)), 'waits again'],
    ['a chunk that there is not', ({ pool }) => pool.add(0, 99), 'one of the pool'],
  ]
  test.each(misuses)('%s', (_name, misuse, words) => {
    expect(() => misuse(downloadOf(4))).toThrow(words)
  })
})

describe('the check throws when', () => {
  const a = (download: Download): Source => download.sources.get('a')!
  const b = (download: Download): Source => download.sources.get('b')!
  const asked = (download: Download): number => [...a(download).requests.keys()][0]!
  const request = { requestedMs: 0, expectedMs: 0, bytes: CHUNK_BYTES }
  const corruptions: [string, (download: Download) => unknown, string][] = [
    ['a source is under another peer', (d) => d.sources.set('b', a(d)), 'filed under its peer'],
    ['a source is no candidate', (d) => d.candidates.delete('a'), 'a source is a candidate'],
    ['a banned peer is a candidate', (d) => d.banned.add('b'), 'a banned peer'],
    ['two sources share a slot', (d) => d.sources.set('b', newSource('b', 0)), 'a slot of its own'],
    [
      'there are too many sources',
      (d) => {
        for (let n = 0; n < 9; n += 1) d.sources.set(`s${n}`, newSource(`s${n}`, n))
      },
      'sources are bounded',
    ],
    [
      'there are too many candidates',
      (d) => {
        for (let n = 0; n < 300; n += 1) d.candidates.set(`c${n}`, { failures: 0, notBeforeMs: 0 })
      },
      'candidates are bounded',
    ],
    ['a source is asked before it is open', (d) => b(d).requests.set(0, request), 'before it is open'],
    ['a stalled source keeps its chunks', (d) => (a(d).stalledSinceMs = 0), 'a stalled source'],
    ['a request is for part of a chunk', (d) => (a(d).requests.get(asked(d))!.bytes = 1), 'its whole chunk'],
    ['bytes are counted twice', (d) => (a(d).requestedBytes *= 2), 'those of its requests'],
    ['a request is forgotten', (d) => a(d).requests.delete(asked(d)), 'those of its requests'],
    [
      'a taken chunk is asked of nobody',
      (d) => {
        a(d).requestedBytes -= CHUNK_BYTES
        a(d).requests.delete(asked(d))
      },
      'while it is asked of a source',
    ],
    ['a chunk that is here is asked for', (d) => d.pool.hold(asked(d)), 'while it is asked of a source'],
    ['the pool counts a holder that is not', (d) => d.pool.add(b(d).slot, 3), 'knows who has a chunk'],
    ['the pool misses a holder', (d) => d.pool.remove(a(d).slot, 3), 'knows who has a chunk'],
    ['a corrupt chunk counts', (d) => d.badChunks.set('a', new Set([0])), 'that it sent corrupt'],
    ['more was delivered than wanted', (d) => d.delivered.set('a', 1), 'delivered twice'],
    ['second copies are too many', (d) => (d.duplicateBytes = 9 * CHUNK_BYTES), 'second copies are bounded'],
  ]
  test.each(corruptions)('%s', (_name, corrupt, words) => {
    const download = busy()
    expect(() => checkDownload(download)).not.toThrow()
    corrupt(download)
    expect(() => checkDownload(download)).toThrow(words)
  })

  test('nothing is missing, and the download goes on', () => {
    const download = newDownload(new Uint32Array(1), [], [], { unavailableAfterMs: UNAVAILABLE_MS })
    expect(() => checkDownload(download)).toThrow('over when nothing is missing')
  })
})
