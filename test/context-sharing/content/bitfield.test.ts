import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Bitfield, chunksOf, toRanges } from '../../../src/context-sharing/content/bitfield.ts'

const someChunks = fc
  .integer({ min: 0, max: 200 })
  .chain((size) =>
    fc.tuple(
      fc.constant(size),
      fc.uniqueArray(fc.integer({ min: 0, max: Math.max(0, size - 1) }), { maxLength: size }),
    ),
  )

describe('a bitfield', () => {
  it('is the set that was put in, also after its bytes have travelled', () => {
    fc.assert(
      fc.property(someChunks, ([size, chunks]) => {
        const bitfield = new Bitfield(size)
        for (const chunk of chunks) expect(bitfield.add(chunk)).toBe(true)
        const copy = new Bitfield(size, bitfield.toBytes())
        expect([...copy]).toEqual(chunks.toSorted((left, right) => left - right))
        expect(copy.count).toBe(chunks.length)
        for (const chunk of chunks) expect(copy.delete(chunk)).toBe(true)
        expect(copy.count).toBe(0)
      }),
    )
  })

  it('ignores bits behind its end', () => {
    expect(new Bitfield(3, Uint8Array.of(0xff)).count).toBe(3)
    expect(Bitfield.full(9).isFull).toBe(true)
  })

  it('refuses a wrong number of bytes, and chunks that it cannot hold', () => {
    expect(() => new Bitfield(9, new Uint8Array(1))).toThrow(RangeError)
    expect(() => new Bitfield(9).add(9)).toThrow(RangeError)
    expect(new Bitfield(9).has(-1)).toBe(false)
  })
})

describe('ranges', () => {
  it('are the same chunks', () => {
    fc.assert(
      fc.property(someChunks, ([size, chunks]) => {
        const sorted = chunks.toSorted((left, right) => left - right)
        expect([...chunksOf(toRanges(chunks), size)]).toEqual(sorted)
      }),
    )
  })

  it('from a peer end where the context does', () => {
    expect([...chunksOf([[2, 1_000_000]], 4)]).toEqual([2, 3])
    expect([...chunksOf([[9, 1]], 4)]).toEqual([])
  })
})
