// Sequences for the engine to run, and how fast it runs them.
import { randomInteger, seededRandom } from '../../src/base/random.ts'
import type { DeltaGraph } from '../../src/inference/running/delta-graph.ts'
import { SlotModel } from '../../src/inference/batching/slot-model.ts'

export const PROMPT_TOKENS = 64

export interface Request {
  promptTokens: number[]
  tokensMax: number
}

const random = seededRandom(1)

export function draw(length: number, vocabulary: number): number[] {
  return Array.from({ length }, () => randomInteger(random, vocabulary))
}

export function uniform(
  count: number,
  promptTokens: number,
  tokensMax: number,
  vocabulary: number,
): Request[] {
  return Array.from({ length: count }, () => ({ promptTokens: draw(promptTokens, vocabulary), tokensMax }))
}

export function modelOn(graph: DeltaGraph, slots: number, sharesPrefixes: boolean): SlotModel {
  const { vocabularySize } = graph
  const facts = {
    slots,
    engine: 'ort-delta',
    numericClass: '',
    contextLengthMax: 2_048,
    vocabularySize,
  } as const
  return new SlotModel(graph, facts, { prefillTokensMax: 512, storeBytesMax: 8e9, sharesPrefixes })
}

/** Runs all of them at once; `onToken` is told the sequence and how many tokens it has. */
export async function runAll(
  model: SlotModel,
  requests: readonly Request[],
  onToken: (sequence: number, tokens: number) => void = () => {},
): Promise<void> {
  await Promise.all(
    requests.map(({ promptTokens, tokensMax }, sequence) => {
      let tokens = 0
      const take = (token: number): number | undefined => {
        tokens += 1
        onToken(sequence, tokens)
        return tokens < tokensMax ? token : undefined
      }
      const next = (): undefined => undefined
      return model.run({ promptTokens, tokensMax, isGreedy: true, take, next }, undefined)
    }),
  )
}

export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now()
  await work()
  return (performance.now() - beganMs) / 1_000
}

/**
 * Tokens per second of decoding alone, with `rows` sequences in every step: by the median time between two
 * tokens of the last of them, which joins when all others decode. Their prompts differ in the last token, because how
 * their keys came to be does not matter to decoding, and computing them takes longest.
 */
export async function decodeRate(graph: DeltaGraph, rows: number, tokens: number): Promise<number> {
  const { vocabularySize } = graph
  const beginning = draw(PROMPT_TOKENS - 1, vocabularySize)
  const requests = Array.from({ length: rows }, (_, row) => ({
    promptTokens: [...beginning, row % vocabularySize],
    tokensMax: tokens,
  }))
  const takenMs: number[] = []
  await runAll(modelOn(graph, rows, true), requests, (sequence) => {
    if (sequence === rows - 1) takenMs.push(performance.now())
  })
  return stepRate(rows, takenMs)
}

/** Tokens per second of steps of `rows` tokens, which ended at these times: by the median, since others use the machine too. */
export function stepRate(rows: number, endedMs: readonly number[]): number {
  const steps = endedMs.slice(1).map((ms, index) => ms - (endedMs[index] ?? 0))
  steps.sort((left, right) => left - right)
  return (rows * 1_000) / (steps[Math.floor(steps.length / 2)] ?? Number.NaN)
}
