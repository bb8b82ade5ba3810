// Generates with transformers.js what `npm run bench -- engine` asks for: one batch of prompts of one length,
// tokens per second, prompts and all. MODEL-FOLDER THREADS
import { basename, dirname } from 'node:path'
import { AutoModelForCausalLM, env, Tensor } from '@huggingface/transformers'

const [, , folder, threads] = process.argv
env.allowRemoteModels = false
env.allowLocalModels = true
env.useFSCache = false
env.localModelPath = `${dirname(folder)}/`
const model = await AutoModelForCausalLM.from_pretrained(basename(folder), {
  dtype: 'fp32',
  device: 'cpu',
  session_options: { intraOpNumThreads: Number(threads) },
})

async function rateOf({ rows, promptTokens, tokens }) {
  const ids = BigInt64Array.from({ length: rows * promptTokens }, (_, index) => BigInt((index * 37) % 500))
  const dims = [rows, promptTokens]
  const beganMs = performance.now()
  const sequences = await model.generate({
    inputs: new Tensor('int64', ids, dims),
    attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), dims),
    max_new_tokens: tokens,
    min_new_tokens: tokens,
    do_sample: false,
  })
  if (sequences.dims[1] !== promptTokens + tokens) throw new Error(`it made ${sequences.dims[1]} tokens`)
  return (rows * tokens * 1_000) / (performance.now() - beganMs)
}

process.on('message', async (question) => process.send(await rateOf(question)))
process.on('disconnect', () => process.exit())
process.send(0)
