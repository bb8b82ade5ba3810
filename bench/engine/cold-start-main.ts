// One opening of a model in a process of its own, as every context has one: node cold-start-main.ts KIND PATH THREADS TOKENS.
// Prints ms: from when its code is loaded until onnxruntime has the stock session, or we the first token.
import '../../src/inference/device/no-telemetry.ts'
import { InferenceSession } from 'onnxruntime-node'
import { openDelta } from './models.ts'
import { draw, secondsOf } from './sequences.ts'

const [kind, path = '', threads = '1', tokens = '1'] = process.argv.slice(2)

async function firstToken(): Promise<void> {
  const graph = await openDelta(path, { threads: Number(threads), skipsPrepacking: true })
  const rows = [draw(Number(tokens), graph.vocabularySize)]
  await graph.run({ rows, past: { kind: 'none' }, pastLengths: [0], wantsLogits: false })
}

const stockSession = (): Promise<unknown> =>
  InferenceSession.create(path, { intraOpNumThreads: Number(threads), logSeverityLevel: 3 })

console.log(1_000 * (await secondsOf(kind === 'stock' ? stockSession : firstToken)))
process.exit()
