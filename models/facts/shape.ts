import type { LlamaShape } from '../../src/inference/graph/llama-weights.ts'
import { makeVocabulary } from './tokenizer-file.ts'

/** The shape of the model: 0.8 M parameters, two query heads to each key-value head. */
export function factsShape(): LlamaShape {
  return {
    layers: 4,
    hidden: 128,
    intermediate: 352,
    heads: 4,
    keyValueHeads: 2,
    headSize: 32,
    vocabulary: Object.keys(makeVocabulary()).length,
    positionsMax: 512,
    ropeTheta: 10_000,
    normEpsilon: 1e-5,
  }
}
