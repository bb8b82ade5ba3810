// What a step feeds to a model, in the form that decoders take it.
import { Tensor } from 'onnxruntime-node'
import { KV_PARTS, type KvPart, type KvStore } from './kv-store.ts'
import type { Feeds } from './onnx-session.ts'
import type { StepInput, StepPast } from './step-graph.ts'

/** The length that rows are padded to. */
export function widthOf({ rows }: StepInput): number {
  return rows.reduce((width, row) => Math.max(width, row.length), 0)
}

/** Tokens of each row in what is fed as the past. */
export function pastTokensOf(past: StepPast, store: KvStore): number {
  if (past.kind === 'none') return 0
  return past.kind === 'packed' ? past.count : store.capacity
}

export function integers(values: readonly number[], dims: readonly number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), dims)
}

/** `input_ids` and `position_ids`, each [rows, width]. */
export function tokenFeeds({ rows, pastLengths }: StepInput, width: number): Feeds {
  const ids = new BigInt64Array(rows.length * width)
  const positions = new BigInt64Array(rows.length * width)
  for (const [row, tokens] of rows.entries()) {
    for (const [index, token] of tokens.entries()) {
      ids[row * width + index] = BigInt(token)
      positions[row * width + index] = BigInt((pastLengths[row] ?? 0) + index)
    }
  }
  const dims = [rows.length, width]
  return { input_ids: new Tensor('int64', ids, dims), position_ids: new Tensor('int64', positions, dims) }
}

/** [rows, total]: ones for each row's past, and for its new tokens from `newFrom` on. */
export function maskOf({ rows, pastLengths }: StepInput, total: number, newFrom: number): Tensor {
  const mask = new BigInt64Array(rows.length * total)
  for (const [row, { length }] of rows.entries()) {
    const at = row * total
    mask.fill(1n, at, at + (pastLengths[row] ?? 0))
    mask.fill(1n, at + newFrom, at + newFrom + length)
  }
  return new Tensor('int64', mask, [rows.length, total])
}

/** `past_key_values.{layer}.{key,value}`: the store itself, or a packed copy of one row. */
export function pastFeeds({ rows, past }: StepInput, store: KvStore): Feeds {
  const { layers, keyValueHeads, headSize } = store.shape
  const dims = [rows.length, keyValueHeads, pastTokensOf(past, store), headSize]
  const feeds: Feeds = {}
  for (let layer = 0; layer < layers; layer += 1) {
    for (const part of KV_PARTS) {
      const data = pastData(past, store, layer, part, rows.length)
      feeds[`past_key_values.${layer}.${part}`] = new Tensor('float32', data, dims)
    }
  }
  return feeds
}

function pastData(past: StepPast, store: KvStore, layer: number, part: KvPart, rows: number): Float32Array {
  if (past.kind === 'none') return new Float32Array(0)
  if (past.kind === 'packed') return store.copyTokens(layer, part, past.slot, past.count)
  return store.view(layer, part, 0, rows)
}
