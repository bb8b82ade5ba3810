// How much many sequences at once gain over one, and over the usual loop.
import type { LlamaShape } from '../../src/inference/graph/llama-weights.ts'
import { boundRate, measureBound } from './machine-bound.ts'
import { openDelta, type BenchModel } from './models.ts'
import { PresentLoop } from './present-loop.ts'
import { atLeast, atTheBound, shareOfBound, type OpenRow, type Row } from './rows.ts'
import { decodeRate, PROMPT_TOKENS } from './sequences.ts'

const MANY = 128

export const DECODING_31M: Row = {
  wanted: [
    atLeast('128 sequences over the present-KV loop, 31 M', 2.5, 4),
    atTheBound('128 sequences over the present-KV loop, 31 M'),
    atLeast('128 sequences over one, 31 M', 8, 15),
    atTheBound('128 sequences over one, 31 M'),
    shareOfBound('128 sequences, 31 M'),
    shareOfBound('one sequence, 31 M'),
  ],
  async open({ models, options }) {
    const model = models.get('31 M')
    const present = await PresentLoop.open(model)
    const tokens = options.quick ? 6 : 32
    const rates = await openRates(model, tokens)
    return {
      async measure() {
        const figures = await rates.measure()
        const usual = await present.rate(MANY, tokens)
        return [figures.many / usual, figures.manyBound / usual, ...figures.values]
      },
      async close() {
        await present.close()
        await rates.close()
      },
    }
  },
}

export const DECODING_163M: Row = {
  wanted: [
    atLeast('128 sequences over one, 163 M', 12),
    atTheBound('128 sequences over one, 163 M'),
    shareOfBound('128 sequences, 163 M'),
    shareOfBound('one sequence, 163 M'),
  ],
  async open({ models, options }): Promise<OpenRow> {
    const rates = await openRates(models.get('163 M'), options.quick ? 6 : 16)
    return { measure: async () => (await rates.measure()).values, close: () => rates.close() }
  },
}

interface Rates {
  measure(): Promise<{ many: number; manyBound: number; values: number[] }>
  close(): Promise<void>
}

/** As values: the ratio of many to one, the same at the bound, and each as a share of the bound. */
async function openRates({ path, shape }: BenchModel, tokens: number): Promise<Rates> {
  const graph = await openDelta(path)
  return {
    async measure() {
      const many = await decodeRate(graph, MANY, tokens)
      const one = await decodeRate(graph, 1, tokens)
      const [manyBound, oneBound] = await boundsOf(shape, tokens)
      const values = [many / one, manyBound / oneBound, many / manyBound, one / oneBound]
      return { many, manyBound, values }
    },
    close: () => graph.close(),
  }
}

async function boundsOf(shape: LlamaShape, tokens: number): Promise<[many: number, one: number]> {
  const bound = await measureBound(shape, MANY)
  const length = PROMPT_TOKENS + tokens / 2
  return [boundRate(shape, bound, MANY, length), boundRate(shape, bound, 1, length)]
}
