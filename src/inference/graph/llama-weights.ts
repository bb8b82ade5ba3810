// The shape of a Llama model, and the source of its weights.
import { createHash } from 'node:crypto'
import { seededRandom } from '../../base/random.ts'

export interface LlamaShape {
  layers: number
  hidden: number
  intermediate: number
  /** Query heads: a multiple of `keyValueHeads`. */
  heads: number
  keyValueHeads: number
  /** Elements of one head: even, and a multiple of 8 for GroupQueryAttention. */
  headSize: number
  vocabulary: number
  /** Longest sequence, in tokens. */
  positionsMax: number
  ropeTheta: number
  normEpsilon: number
}

/**
 * Weights under the names and in the layout of Hugging Face's Llama: a linear layer is
 * [outputs, inputs], row-major. Asked once for each tensor, while the model is written.
 */
export type WeightSource = (name: string, dims: readonly number[]) => Float32Array

function countElements(dims: readonly number[]): number {
  return dims.reduce((count, dim) => count * dim, 1)
}

function seedOf(seed: number, name: string): number {
  return createHash('sha256').update(`${seed}/${name}`).digest().readUInt32LE(0)
}

/**
 * Random weights that keep activations at about unit size, so that greedy tokens vary: each linear layer
 * uniform with variance 1/inputs, embeddings with variance 1, norms 1. A tensor depends on the seed and
 * its own name only, not on the order of asking.
 */
export function randomWeights(seed: number): WeightSource {
  return (name, dims) => {
    const elements = new Float32Array(countElements(dims)).fill(1)
    if (dims.length === 1) return elements
    const bound = Math.sqrt(3 / (name.includes('embed_tokens') ? 1 : (dims[1] ?? 1)))
    const random = seededRandom(seedOf(seed, name))
    return elements.map(() => (random.next() * 2 - 1) * bound)
  }
}

interface SafetensorsEntry {
  dtype: string
  shape: number[]
  data_offsets: [start: number, end: number]
}

/** The fp32 weights in a safetensors file (https://huggingface.co/docs/safetensors). */
export function safetensorsWeights(file: Uint8Array): WeightSource {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const headerEnd = 8 + Number(view.getBigUint64(0, true))
  const header = JSON.parse(Buffer.from(file.subarray(8, headerEnd)).toString('utf8')) as Record<
    string,
    SafetensorsEntry
  >
  return (name, dims) => {
    const entry = header[name]
    if (entry?.dtype !== 'F32' || entry.shape.join() !== dims.join()) {
      throw new Error(`no fp32 tensor ${name} of shape [${dims.join(', ')}]`)
    }
    const [start, end] = entry.data_offsets
    return new Float32Array(new Uint8Array(file.subarray(headerEnd + start, headerEnd + end)).buffer)
  }
}

/** [rows, columns] → [columns, rows], row-major. */
export function transpose(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = matrix[row * columns + column] ?? 0
    }
  }
  return result
}
