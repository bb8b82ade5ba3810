import { expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { byStepTime } from '../../../src/inference/running/open-graph.ts'
import type { StepGraph, StepInput } from '../../../src/inference/running/step-graph.ts'

let nowMs = 0
const clock: Clock = { nowMs: () => nowMs, wallMs: () => nowMs, schedule: () => () => {} }

/** A graph whose steps take the times given. */
function graphOf(...stepsMs: number[]): StepGraph & { inputs: StepInput[] } {
  const inputs: StepInput[] = []
  return {
    kvShape: { layers: 1, keyValueHeads: 1, headSize: 2 },
    vocabularySize: 4,
    sharesPrefixes: true,
    inputs,
    run(input) {
      inputs.push(input)
      nowMs += stepsMs[inputs.length - 1] ?? Number.NaN
      const data = new Float32Array(4)
      return Promise.resolve({
        best: () => 0,
        hasNumbers: () => true,
        logits: () => data,
        keyValues: () => ({ data, tokens: 1 }),
        newFrom: () => 0,
      })
    },
    close: () => Promise.resolve(),
  }
}

test('the device with the shorter decode step comes first; the first step, which prepares, does not count', async () => {
  const card = graphOf(5_000, 9, 3, 4)
  const processor = graphOf(1, 8, 6, 7)
  const order = await byStepTime(clock, [{ graph: processor }, { graph: card }])
  expect(order.map(({ graph, stepMs }) => [graph === card, stepMs])).toEqual([
    [true, 3],
    [false, 6],
  ])
  expect(card.inputs.map(({ past, rows }) => [past.kind, rows.length])).toEqual(
    Array.from({ length: 4 }, () => ['slots', 8]),
  )
})
