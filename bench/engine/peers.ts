// Other engines on the same shapes and threads, each in a separate process (bench/peers).
import { fork, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { llamaConfig, type LlamaAttention } from '../../src/inference/graph/llama-graph.ts'
import { writeRandomGguf } from './gguf.ts'
import { openDelta, THREADS, type Size } from './models.ts'
import { atLeast, type Row, type RowContext } from './rows.ts'
import { decodeRate, PROMPT_TOKENS } from './sequences.ts'

const PEERS = join(import.meta.dirname, '../peers')
const ANSWER_MS_MAX = 120_000

/** A question to another engine: tokens per second with this many rows. */
interface Question {
  rows: number
  promptTokens: number
  tokens: number
}

export const LLAMA_CPP: Row = {
  wanted: [
    atLeast('8 sequences over llama.cpp, 8 bits, 31 M', 1.2),
    atLeast('32 sequences over llama.cpp, 8 bits, 31 M', 1, 1.5),
    atLeast('8 sequences over llama.cpp, 8 bits, 163 M', 1.2),
    atLeast('32 sequences over llama.cpp, 8 bits, 163 M', 1, 1.5),
  ],
  async open(context) {
    if (!hasPackage('node-llama-cpp', context)) return undefined
    const [small, large] = [await openLlama('31 M', context), await openLlama('163 M', context)]
    return {
      measure: async () => [...(await small.measure()), ...(await large.measure())],
      async close() {
        await small.close()
        await large.close()
      },
    }
  },
}

async function openLlama(size: Size, { models, options, folder }: RowContext) {
  const path = join(folder, `${size.replaceAll(' ', '')}.gguf`)
  writeRandomGguf(path, models.shapeOf(size))
  const graph = await openDelta(models.get(size, 'grouped-query', 'int8').path)
  const peer = await PeerProcess.start('llama-cpp.mjs', path)
  const tokens = options.quick ? 6 : 40
  const over = async (rows: number): Promise<number> => {
    const theirs = await peer.ask({ rows, promptTokens: PROMPT_TOKENS, tokens })
    return (await decodeRate(graph, rows, tokens)) / theirs
  }
  return {
    measure: async () => [await over(8), await over(32)],
    async close() {
      peer.stop()
      await graph.close()
    },
  }
}

export const TRANSFORMERS: Row = {
  wanted: [atLeast('32 sequences over batched transformers.js, plain attention, 31 M', 3)],
  async open(context) {
    if (!hasPackage('@huggingface/transformers', context)) return undefined
    const { options } = context
    const path = writeLayout(context, 'plain')
    const graph = await openDelta(path)
    const peer = await PeerProcess.start('transformers.mjs', dirname(dirname(path)))
    const [rows, tokens] = [32, options.quick ? 6 : 64]
    return {
      async measure() {
        const theirs = await peer.ask({ rows, promptTokens: PROMPT_TOKENS, tokens })
        return [(await decodeRate(graph, rows, tokens)) / theirs]
      },
      async close() {
        peer.stop()
        await graph.close()
      },
    }
  },
}

/** A folder as transformers.js wants it; returns the model's path. */
function writeLayout({ models, folder }: RowContext, attention: LlamaAttention): string {
  const { path, shape } = models.get('31 M', attention)
  const context = join(folder, 'transformers')
  const moved = join(context, 'onnx', 'model.onnx')
  mkdirSync(dirname(moved), { recursive: true })
  // The graph names its weights' file.
  const weights = `${path}_data`
  renameSync(weights, join(dirname(moved), weights.slice(dirname(path).length + 1)))
  renameSync(path, moved)
  const ids = { pad_token_id: 0, bos_token_id: 0, eos_token_id: shape.vocabulary }
  writeFileSync(join(context, 'config.json'), JSON.stringify(llamaConfig(shape, ids)))
  writeFileSync(join(context, 'generation_config.json'), '{}')
  return moved
}

function hasPackage(name: string, { options }: RowContext): boolean {
  const isThere = existsSync(join(PEERS, 'node_modules', name))
  if (!isThere) options.note(`left out, because ${name} is not installed: cd bench/peers && npm ci`)
  return isThere
}

class PeerProcess {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(script: string, path: string): Promise<PeerProcess> {
    const child = fork(join(PEERS, script), [path, String(THREADS)], { execArgv: [] })
    const peer = new PeerProcess(child)
    await peer.#answer()
    return peer
  }

  /** Tokens per second. */
  async ask(question: Question): Promise<number> {
    this.#child.send(question)
    return await this.#answer()
  }

  stop(): void {
    this.#child.kill('SIGKILL')
  }

  #answer(): Promise<number> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: () => void): void => {
        clearTimeout(timer)
        this.#child.off('message', onMessage).off('exit', onExit)
        outcome()
      }
      const onMessage = (answer: unknown): void => settle(() => resolve(Number(answer)))
      const onExit = (): void => settle(() => reject(new Error('the peer engine ended before its answer')))
      const onLate = (): void =>
        settle(() => reject(new Error(`the peer engine did not answer within ${ANSWER_MS_MAX} ms`)))
      const timer = setTimeout(onLate, ANSWER_MS_MAX)
      this.#child.once('message', onMessage).once('exit', onExit)
    })
  }
}
