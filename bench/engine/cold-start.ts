// From the files of a large context to its first token, each time in a fresh process: a process that has
// loaded a model before has warm code, and memory that the system need not make.
import { execFile } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { measureBound, weightsOf } from './machine-bound.ts'
import { atLeast, type Row } from './rows.ts'
import { PROMPT_TOKENS } from './sequences.ts'

const MAIN = join(import.meta.dirname, 'cold-start-main.ts')
const ANSWER_MS_MAX = 120_000
const SHORT_PROMPT_TOKENS = 8

/** A quick start has nothing beside it, and takes every free core. */
const THREADS = availableParallelism()

export const COLD_START: Row = {
  wanted: [
    { name: 'context of 650 MB to its first token', unit: 'ms', better: 'lower', bound: 150, toward: 100 },
    {
      name: '650 MB to the first token: its arithmetic at the bound of all cores',
      unit: 'ms',
      better: 'lower',
    },
    { name: '650 MB to the first token, after a prompt of 8 tokens', unit: 'ms', better: 'lower' },
    atLeast('stock session creation over the first token, 650 MB in one file', 5),
    {
      name: 'stock session creation over the first token, 650 MB, weights beside',
      unit: '×',
      better: 'higher',
    },
    {
      name: 'stock session creation over the first token of 8, 650 MB in one file',
      unit: '×',
      better: 'higher',
    },
  ],
  async open({ models }) {
    const beside = models.get('163 M')
    const inOne = models.get('163 M', 'grouped-query', 'fp32', 'one file')
    const { shape } = beside
    const { flops } = await measureBound(shape, PROMPT_TOKENS, THREADS)
    const arithmeticMs = (1_000 * 2 * weightsOf(shape) * PROMPT_TOKENS) / flops
    // The first reading of a file just written is its file system's matter.
    for (const { path } of [beside, inOne]) await opening('delta', path, PROMPT_TOKENS)
    return {
      async measure() {
        const ours = await opening('delta', inOne.path, PROMPT_TOKENS)
        const oursShort = await opening('delta', inOne.path, SHORT_PROMPT_TOKENS)
        const oursBeside = await opening('delta', beside.path, PROMPT_TOKENS)
        const stock = await opening('stock', inOne.path, 0)
        const stockBeside = await opening('stock', beside.path, 0)
        return [
          oursBeside,
          arithmeticMs,
          oursShort,
          stock / ours,
          stockBeside / oursBeside,
          stock / oursShort,
        ]
      },
      close: () => Promise.resolve(),
    }
  },
}

/** How long it took, ms. */
async function opening(kind: 'delta' | 'stock', path: string, tokens: number): Promise<number> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [MAIN, kind, path, String(THREADS), String(tokens)],
    { timeout: ANSWER_MS_MAX },
  )
  return Number(stdout)
}
