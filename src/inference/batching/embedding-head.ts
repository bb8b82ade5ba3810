// Makes one vector of the vectors of a text's tokens, as sentence-transformers does.
import type {
  Activation,
  DenseStep,
  EmbeddingRecipe,
  PoolingMode,
  Step,
} from '../contract/embedding-recipe.ts'

/** A vector shorter than this stays so: PyTorch's bound in `normalize`. */
const LENGTH_MIN = 1e-12

/**
 * @param states [tokens, size]
 * @param promptTokens tokens at the beginning that the pooling leaves out
 */
export function embed(
  states: Float32Array,
  size: number,
  { pooling, steps }: Pick<EmbeddingRecipe, 'pooling' | 'steps'>,
  promptTokens = 0,
): Float32Array {
  const vectors =
    pooling === 'graph' ? [states] : pooling.map((mode) => POOLS[mode](states, size, promptTokens))
  return steps.reduce((vector, step) => apply(vector, step), concatenate(vectors))
}

/** The first elements of a vector; of length 1 again where it was scaled to that. */
export function shorten(vector: Float32Array, size: number, steps: readonly Step[]): Float32Array {
  const first = vector.slice(0, size)
  return steps.at(-1)?.kind === 'normalize' ? normalize(first) : first
}

type Pool = (states: Float32Array, size: number, from: number) => Float32Array

const one = (): number => 1
const countOf = (states: Float32Array, size: number): number => states.length / size

/** Sums are of double precision. `from` is the first token that counts. */
const POOLS: Readonly<Record<PoolingMode, Pool>> = {
  cls: (states, size) => states.slice(0, size),
  lasttoken: (states, size) => states.slice(-size),
  max: greatest,
  mean: (states, size, from) => scaled(sum(states, size, from, one), countOf(states, size) - from),
  mean_sqrt_len_tokens: (states, size, from) =>
    scaled(sum(states, size, from, one), Math.sqrt(countOf(states, size) - from)),
  // 1 for the first token, 2 for the second, …: their sum without the prompt's.
  weightedmean: (states, size, from) => {
    const count = countOf(states, size)
    const weights = (count * (count + 1) - from * (from + 1)) / 2
    return scaled(
      sum(states, size, from, (token) => token + 1),
      weights,
    )
  },
}

function sum(
  states: Float32Array,
  size: number,
  from: number,
  weightOf: (token: number) => number,
): Float64Array {
  const sums = new Float64Array(size)
  for (let token = from; token * size < states.length; token += 1) {
    const weight = weightOf(token)
    for (let index = 0; index < size; index += 1)
      sums[index] = (sums[index] as number) + weight * (states[token * size + index] as number)
  }
  return sums
}

function scaled(sums: Float64Array, divisor: number): Float32Array {
  return Float32Array.from(sums, (element) => element / divisor)
}

function greatest(states: Float32Array, size: number, from: number): Float32Array {
  const vector = new Float32Array(size).fill(-Infinity)
  for (let index = from * size; index < states.length; index += 1) {
    const element = states[index] as number
    // NaN is kept, for the caller to find.
    if (!(element <= (vector[index % size] as number))) vector[index % size] = element
  }
  return vector
}

function concatenate(vectors: readonly Float32Array[]): Float32Array {
  const [only] = vectors
  if (vectors.length === 1 && only !== undefined) return only
  return Float32Array.from(vectors.flatMap((vector) => [...vector]))
}

function apply(vector: Float32Array, step: Step): Float32Array {
  return step.kind === 'normalize' ? normalize(vector) : dense(vector, step)
}

function normalize(vector: Float32Array): Float32Array {
  let squares = 0
  for (const element of vector) squares += element * element
  const length = Math.max(Math.sqrt(squares), LENGTH_MIN)
  return vector.map((element) => element / length)
}

function dense(vector: Float32Array, step: DenseStep): Float32Array {
  const { weight, bias, activation, residual, outSize } = step
  const product = multiply(weight, vector, outSize)
  const added = residual === 'none' || residual === 'input' ? vector : multiply(residual, vector, outSize)
  return Float32Array.from(product, (element, index) => {
    const active = FUNCTIONS[activation](element + (bias?.[index] ?? 0))
    return residual === 'none' ? active : active + (added[index] as number)
  })
}

function multiply(matrix: Float32Array, vector: Float32Array, rows: number): Float64Array {
  const products = new Float64Array(rows)
  for (let row = 0; row < rows; row += 1) {
    let total = 0
    for (let index = 0; index < vector.length; index += 1)
      total += (matrix[row * vector.length + index] as number) * (vector[index] as number)
    products[row] = total
  }
  return products
}

const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value))

const FUNCTIONS: Readonly<Record<Activation, (value: number) => number>> = {
  Identity: (value) => value,
  Tanh: Math.tanh,
  ReLU: (value) => (value < 0 ? 0 : value),
  Sigmoid: sigmoid,
  SiLU: (value) => value * sigmoid(value),
}
