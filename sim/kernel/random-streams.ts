import type { Random } from '../../src/base/random.ts'
import { mix, wordOf } from './mix.ts'

const GOLDEN = 0x9e3779b9

/**
 * Chance by counter: what a stream gives next depends on the seed, whose stream it is, what it is for, and
 * how much was drawn of it, and on nothing else. So two policies see the same churn, whatever they draw.
 */
export class RandomStreams {
  readonly #seed: number

  constructor(seed: number) {
    this.#seed = mix(seed ^ mix(Math.floor(seed / 0x1_0000_0000)))
  }

  /** `index` tells streams of one entity and purpose apart, as the times a peer came up. */
  of(entity: string | number, purpose: string, index = 0): Random {
    return this.family(entity, purpose)(index)
  }

  /** All streams of one entity and purpose. */
  family(entity: string | number, purpose: string): (index: number) => Random {
    const whose = typeof entity === 'number' ? mix(entity + GOLDEN) : wordOf(entity)
    const what = wordOf(purpose)
    const one = mix(mix(this.#seed + whose) ^ what)
    const other = mix(mix(this.#seed ^ 0x5bd1e995) + what)
    return (index) => streamOf(mix(one + mix(index ^ GOLDEN)), mix(other ^ mix(whose + mix(index + GOLDEN))))
  }
}

function streamOf(first: number, second: number): Random {
  let drawn = 0
  return {
    next() {
      drawn = (drawn + 1) | 0
      const word = mix(first ^ mix(drawn + GOLDEN))
      const high = mix(word ^ second) >>> 5
      const low = mix((word + second) ^ GOLDEN) >>> 6
      return (high * 0x400_0000 + low) / 0x20_0000_0000_0000
    },
  }
}
