import { randomBytes } from 'node:crypto'
import type { Random } from './random.ts'

/** The machine's own chance: one of the two files that touch ambient time and chance. */
export const systemRandom: Random = { next: () => Math.random() }

/** `bytes` of cryptographically strong chance as lower-case hex. For ids and secrets. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex')
}
