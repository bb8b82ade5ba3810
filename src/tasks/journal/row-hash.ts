import { crc32 } from 'node:zlib'
import type { SQLInputValue } from 'node:sqlite'

/** Texts from this length are hashed by zlib; a call of it costs as much as hashing a shorter one here. */
const LONG_TEXT = 48
/** Odd, so that a product with it loses no bit: 2^32 divided by the golden ratio. */
const MULTIPLIER = 0x9e3779b1
/** Stands for a field that is neither text nor a whole number, which only damage makes. */
const OTHER = 0x6f746872

/**
 * The hash that a row of the journal carries, 32 bits. Each step is a bijection, so damage within one field of up to
 * 32 bits is always found, and one in 2^32 of other damage is missed. It guards against a failing disk, not against an attack.
 */
export function hashOf(...fields: readonly SQLInputValue[]): number {
  let hash = 0
  for (const field of fields) {
    if (typeof field === 'string') hash = addText(hash, field)
    else if (typeof field === 'bigint') hash = addInteger(hash, Number(field))
    else if (Number.isInteger(field)) hash = addInteger(hash, field as number)
    else hash = addWord(hash, OTHER)
  }
  return hash >>> 0
}

function addWord(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, MULTIPLIER)
  return (product << 15) | (product >>> 17)
}

function addInteger(hash: number, value: number): number {
  return addWord(addWord(hash, value | 0), Math.floor(value / 2 ** 32) | 0)
}

function addText(hash: number, text: string): number {
  if (text.length >= LONG_TEXT) return addWord(hash, crc32(text))
  let sum = addWord(hash, text.length)
  for (let index = 0; index < text.length; index += 1) sum = addWord(sum, text.charCodeAt(index))
  return sum
}
