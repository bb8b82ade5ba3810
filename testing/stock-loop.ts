// The plainest way to run a stock export: one sequence, the whole cache out and in at every token. What
// other engines are held against.
import '../src/inference/device/no-telemetry.ts'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { LlamaShape } from '../src/inference/graph/llama-weights.ts'

export interface StockToken {
  token: number
  /** By how much its logit is greater than the second's. */
  lead: number
}

/** A cache of fp16 cannot be fed (onnxruntime-node 1.30): then everything is computed anew for each token. */
export async function continueByStockLoop(
  path: string,
  { keyValueHeads, headSize, vocabulary }: LlamaShape,
  promptTokens: readonly number[],
  tokensMax: number,
): Promise<StockToken[]> {
  const session = await InferenceSession.create(path, {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
    // Exact 8-bit products on processors without VNNI too, where onnxruntime's usual ones overflow.
    extra: { session: { x64quantprecision: '1' } },
  })
  const pasts = session.inputNames.filter((name) => name.startsWith('past_key_values.'))
  const isHalf = session.inputMetadata.some((input) => input.isTensor && input.type === 'float16')
  const dims = [1, keyValueHeads, 0, headSize]
  const none = isHalf
    ? new Tensor('float16', new Uint16Array(0), dims)
    : new Tensor('float32', new Float32Array(0), dims)
  let past: Record<string, Tensor> = Object.fromEntries(pasts.map((name) => [name, none]))
  const chosen: StockToken[] = []
  const tokens = [...promptTokens]
  for (let stored = 0; chosen.length < tokensMax; stored = isHalf ? 0 : tokens.length - 1) {
    const positions = tokens.map((_, position) => position).slice(stored)
    const feeds = {
      input_ids: integers(tokens.slice(stored)),
      attention_mask: integers(tokens.map(() => 1)),
      ...(session.inputNames.includes('position_ids') ? { position_ids: integers(positions) } : {}),
    }
    const outputs = await session.run({ ...past, ...feeds })
    const logits = Array.from(outputs['logits']?.data as Float32Array)
    const best = likeliest(logits.slice(-vocabulary))
    chosen.push(best)
    tokens.push(best.token)
    if (isHalf) continue
    past = Object.fromEntries(
      pasts.map((name) => [name, outputs[name.replace('past_key_values', 'present')] as Tensor]),
    )
  }
  await session.release()
  return chosen
}

function integers(values: readonly number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length])
}

function likeliest(logits: readonly number[]): StockToken {
  const greatest = Math.max(...logits)
  const token = logits.indexOf(greatest)
  const second = Math.max(...logits.filter((_, index) => index !== token))
  return { token, lead: greatest - second }
}
