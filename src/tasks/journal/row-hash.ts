import { crc32 } from 'node:zlib'
import type { SQLInputValue } from 'node:sqlite'

/** Texts from this length are hashed by zlib; a call of it costs as much as hashing a shorter one here. */
const LONG_TEXT = 128
/** Odd, so that a product with it loses no bit: 2^32 divided by the golden ratio. */
const MULTIPLIER = 0x9e3779b1
/** Stands for a field that is neither text nor a whole number, which only damage makes. */
const OTHER = 0x6f746872

/**
 * The hash that a row of the journal carries, 32 bits. Each step is a bijection or a CRC-32, so damage of up to 32
 * neighbouring bits in one field is always found. It guards against a failing disk, not against an attack.
 */
export function hashOf(...fields: readonly SQLInputValue[]): number {
  let hash = 0
  for (let index = 0; index < fields.length; index += 1) hash = add(hash, fields[index])
  return hash >>> 0
}

function add(hash: number, field: SQLInputValue | undefined): number {
  if (typeof field === 'string')
    return field.length < LONG_TEXT ? addShort(hash, field) : crc32(field, hash >>> 0)
  if (typeof field === 'bigint') return addInteger(hash, Number(field))
  return Number.isInteger(field) ? addInteger(hash, field as number) : addWord(hash, OTHER)
}

function addWord(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, MULTIPLIER)
  return (product << 15) | (product >>> 17)
}

/** Two words, because times exceed 32 bits. */
function addInteger(hash: number, value: number): number {
  return addWord(addWord(hash, value | 0), (value / 2 ** 32) | 0)
}

function addShort(hash: number, text: string): number {
  let sum = addWord(hash, text.length)
  let index = 0
  for (; index + 1 < text.length; index += 2)
    sum = addWord(sum, text.charCodeAt(index) | (text.charCodeAt(index + 1) << 16))
  return index < text.length ? addWord(sum, text.charCodeAt(index)) : sum
}
