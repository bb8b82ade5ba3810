// The inputs of a step, in the form that decoders take.
import '../device/no-telemetry.ts'
import { Tensor } from 'onnxruntime-node'
import type { KvShape } from '../graph/decoder.ts'
import { KV_PARTS, type KvPart } from './kv-store.ts'
import type { Feeds } from './onnx-session.ts'
import type { StepInput, StepPast } from './step-graph.ts'

/** The length that rows are padded to. */
export function widthOf({ rows }: StepInput): number {
  return rows.reduce((width, row) => Math.max(width, row.length), 0)
}

/** Tokens of each row in what is fed as the past. */
export function pastTokensOf(past: StepPast): number {
  if (past.kind === 'none') return 0
  return past.kind === 'packed' ? past.count : past.store.capacity
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

/**
 * `past_key_values.{layer}.{key,value}`: the slots where they lie, or one packed past, [pastRows, heads,
 * tokens, size]. A model that does not spread one past over its rows wants a copy for each of them.
 */
export function pastFeeds(past: StepPast, shape: KvShape, pastRows: number): Feeds {
  const dims = [pastRows, shape.keyValueHeads, pastTokensOf(past), shape.headSize]
  const feeds: Feeds = {}
  for (let layer = 0; layer < shape.layers; layer += 1) {
    for (const part of KV_PARTS) {
      const data = pastData(past, layer, part, pastRows)
      feeds[`past_key_values.${layer}.${part}`] = new Tensor('float32', data, dims)
    }
  }
  return feeds
}

function pastData(past: StepPast, layer: number, part: KvPart, rows: number): Float32Array {
  if (past.kind === 'none') return new Float32Array(0)
  if (past.kind === 'slots') return past.store.view(layer, part, 0, rows)
  const { store, slot, count } = past
  const packed =
    count === store.capacity ? store.view(layer, part, slot, 1) : store.copyTokens(layer, part, slot, count)
  return rows === 1 ? packed : repeat(packed, rows)
}

function repeat(data: Float32Array, times: number): Float32Array {
  const repeated = new Float32Array(data.length * times)
  for (let time = 0; time < times; time += 1) repeated.set(data, time * data.length)
  return repeated
}
