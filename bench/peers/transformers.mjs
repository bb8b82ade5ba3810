// Generates with transformers.js what `npm run bench -- engine` asks for: one batch of prompts of one length,
// tokens per second after the first of each. MODEL-FOLDER THREADS
import { basename, dirname } from 'node:path'
import { AutoModelForCausalLM, BaseStreamer, env, Tensor } from '@huggingface/transformers'

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

/** When it was given something: first the prompts, then each step's tokens. */
class Times extends BaseStreamer {
  atMs = []
  put() {
    this.atMs.push(performance.now())
  }
  end() {}
}

async function rateOf({ rows, promptTokens, tokens }) {
  const ids = BigInt64Array.from({ length: rows * promptTokens }, (_, index) => BigInt((index * 37) % 500))
  const dims = [rows, promptTokens]
  const streamer = new Times()
  await model.generate({
    inputs: new Tensor('int64', ids, dims),
    attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), dims),
    max_new_tokens: tokens,
    min_new_tokens: tokens,
    do_sample: false,
    streamer,
  })
  const [, first, ...others] = streamer.atMs
  if (others.length !== tokens - 1) throw new Error(`it made ${others.length + 1} tokens`)
  return (rows * others.length * 1_000) / (others.at(-1) - first)
}

process.on('message', async (question) => process.send(await rateOf(question)))
process.on('disconnect', () => process.exit())
process.send(0)
