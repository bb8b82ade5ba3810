// The plainest correct way to run a stock export: one prompt at a time, the whole key-value cache in and
// out at every token. It is the yardstick that the evaluation trusts, not the engine that Hearth runs.
import { InferenceSession, Tensor } from 'onnxruntime-node'

type Feeds = Record<string, Tensor>

export interface GreedyOptions {
  /** Ends a reply; undefined for a model that only `tokensMax` ends. */
  eosTokenId: number | undefined
  tokensMax: number
}

export interface GreedyReply {
  /** Without the end token. */
  tokenIds: number[]
  finish: 'stop' | 'length'
  /** Smallest lead of a chosen token's logit over the next: small ones may fall otherwise on other machines. */
  marginMin: number
}

export class GreedyModel {
  readonly #session: InferenceSession

  private constructor(session: InferenceSession) {
    this.#session = session
  }

  /** Loads an ONNX file in the stock form, on one thread. */
  static async open(path: string): Promise<GreedyModel> {
    const options = { intraOpNumThreads: 1, executionProviders: ['cpu'], logSeverityLevel: 3 } as const
    return new GreedyModel(await InferenceSession.create(path, options))
  }

  /** Always the token with the greatest logit; the first of equals. */
  async generate(
    promptIds: readonly number[],
    { eosTokenId, tokensMax }: GreedyOptions,
  ): Promise<GreedyReply> {
    const reply: GreedyReply = { tokenIds: [], finish: 'length', marginMin: Infinity }
    let past = this.#emptyPast()
    let input = promptIds
    for (let length = promptIds.length; reply.tokenIds.length < tokensMax; length++) {
      const outputs = await this.#session.run(this.#feeds(input, length, past))
      const { token, margin } = lastGreatest(outputs['logits'])
      reply.marginMin = Math.min(reply.marginMin, margin)
      if (token === eosTokenId) return { ...reply, finish: 'stop' }
      reply.tokenIds.push(token)
      past = presentAsPast(outputs)
      input = [token]
    }
    return reply
  }

  async close(): Promise<void> {
    await this.#session.release()
  }

  /** `input` are the last tokens of a sequence of `length`. */
  #feeds(input: readonly number[], length: number, past: Feeds): Feeds {
    const mask = Array.from({ length }, () => 1)
    const feeds: Feeds = { ...past, input_ids: integerRow(input), attention_mask: integerRow(mask) }
    if (this.#session.inputNames.includes('position_ids')) {
      feeds['position_ids'] = integerRow(input.map((_, index) => length - input.length + index))
    }
    return feeds
  }

  #emptyPast(): Feeds {
    const inputs = this.#session.inputMetadata.filter(({ name }) => name.startsWith('past_key_values.'))
    return Object.fromEntries(
      inputs.map((input) => {
        if (!input.isTensor) throw new Error(`${input.name} is not a tensor`)
        const [, heads, , headSize] = input.shape
        return [
          input.name,
          new Tensor('float32', new Float32Array(0), [1, Number(heads), 0, Number(headSize)]),
        ]
      }),
    )
  }
}

function presentAsPast(outputs: Feeds): Feeds {
  const presents = Object.entries(outputs).filter(([name]) => name.startsWith('present.'))
  return Object.fromEntries(
    presents.map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor]),
  )
}

function integerRow(values: readonly number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values.map(BigInt)), [1, values.length])
}

/** The greatest logit's token at the last position of [1, sequence, vocabulary], and its lead over the next. */
function lastGreatest(logits: Tensor | undefined): { token: number; margin: number } {
  if (logits === undefined) throw new Error('the model has no output named logits')
  const last = (logits.data as Float32Array).subarray(-Number(logits.dims[2]))
  const greatest = Math.max(...last)
  const token = last.indexOf(greatest)
  const others = last.filter((_, index) => index !== token)
  return { token, margin: greatest - Math.max(...others) }
}
