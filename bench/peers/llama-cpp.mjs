// Decodes with llama.cpp what `npm run bench -- engine` asks for: rows sequences at once, tokens per second
// from when the last has its first token until the first has its last. GGUF-FILE THREADS
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'

const [, , modelPath, threads] = process.argv
const llama = await getLlama({
  build: 'never',
  skipDownload: true,
  gpu: false,
  maxThreads: Number(threads),
  logLevel: LlamaLogLevel.error,
})
const model = await llama.loadModel({ modelPath })

async function rateOf({ rows, promptTokens, tokens }) {
  const context = await model.createContext({
    sequences: rows,
    contextSize: promptTokens + tokens + 8,
    batchSize: 512,
    threads: Number(threads),
  })
  let [started, counted, beganMs, rate] = [0, 0, undefined, undefined]
  const take = (count) => {
    if (count === 1) started += 1
    if (started < rows) return
    if (beganMs === undefined) beganMs = performance.now()
    else counted += 1
    if (count === tokens && rate === undefined) {
      rate = (Math.ceil(counted / rows) * rows * 1_000) / (performance.now() - beganMs)
    }
  }
  const run = async (sequence, row) => {
    const prompt = Array.from({ length: promptTokens }, (_, index) => 259 + ((row * 37 + index * 11) % 200))
    let count = 0
    for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
      take((count += 1))
      if (count === tokens) return
    }
  }
  const sequences = Array.from({ length: rows }, () => context.getSequence())
  await Promise.all(sequences.map(run))
  await context.dispose()
  return rate
}

process.on('message', async (question) => process.send(await rateOf(question)))
process.on('disconnect', () => process.exit())
process.send(0)
