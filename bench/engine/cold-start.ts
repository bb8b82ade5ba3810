// From the files of a large context to its first token.
import { InferenceSession } from 'onnxruntime-node'
import type { DeltaGraph } from '../../src/inference/delta-graph.ts'
import { openDelta, THREADS } from './models.ts'
import { atLeast, type Row } from './rows.ts'
import { modelOn, PROMPT_TOKENS, runAll, secondsOf, uniform } from './sequences.ts'

export const COLD_START: Row = {
  wanted: [
    { name: 'context of 650 MB to its first token', unit: 'ms', better: 'lower', bound: 150, toward: 100 },
    atLeast('stock session creation over the first token, 650 MB', 5),
  ],
  async open({ models }) {
    const { path, shape } = models.get('163 M')
    const firstToken = async (): Promise<number> => {
      let graph: DeltaGraph | undefined
      const seconds = await secondsOf(async () => {
        graph = await openDelta(path, true)
        await runAll(modelOn(graph, 1, false), uniform(1, PROMPT_TOKENS, 1, shape.vocabulary))
      })
      await graph?.close()
      return seconds
    }
    // The first reading of a file just written is its file system's matter.
    await firstToken()
    return {
      async measure() {
        const seconds = await firstToken()
        return [seconds * 1_000, (await stockCreation(path)) / seconds]
      },
      close: () => Promise.resolve(),
    }
  },
}

async function stockCreation(path: string): Promise<number> {
  let session: InferenceSession | undefined
  const seconds = await secondsOf(async () => {
    session = await InferenceSession.create(path, { intraOpNumThreads: THREADS, logSeverityLevel: 3 })
  })
  await session?.release()
  return seconds
}
