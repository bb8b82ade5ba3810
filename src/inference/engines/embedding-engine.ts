// The engine of embedding models: texts become vectors.
import { isHearthError } from '../../base/errors.ts'
import { readPooling, type ContextFiles, type Pooling } from '../contract/model-folder.ts'
import { readEmbeddingRequest, writeEmbeddings } from '../text/embedding-request.ts'
import { checkEncoder, EncoderModel } from '../batching/encoder-model.ts'
import type { Engine, EngineFacts, EngineRequest, EngineResult } from '../contract/engine.ts'
import { openSession } from '../running/onnx-session.ts'
import type { OnnxModel } from '../onnx/onnx-reader.ts'
import { checkInputTokens } from '../text/request-check.ts'
import { TextCodec } from '../text/text-codec.ts'
import { ofRequest, refusal } from '../text/text-engine.ts'

const TOKENS_PER_STEP_MAX = 2_048

/** What an encoder makes of text, read from the context's files. */
export interface EncoderText {
  kind: 'encoder'
  /** The graph's output with the tokens' vectors. */
  output: string
  pooling: Pooling
  codec: TextCodec
}

export interface EmbeddingContext {
  path: string
  text: EncoderText
  files: ContextFiles
  threads: number
}

/** Throws `model-unsupported` or `context-invalid`. */
export async function readEncoderText(
  folder: string,
  model: OnnxModel,
  files: ContextFiles,
): Promise<EncoderText> {
  return {
    kind: 'encoder',
    output: checkEncoder(model),
    pooling: await readPooling(folder),
    codec: new TextCodec({ ...files, chatTemplate: undefined }, () => 0),
  }
}

export class EmbeddingEngine implements Engine {
  readonly facts: EngineFacts
  readonly #model: EncoderModel
  readonly #codec: TextCodec
  /** Tokens that the model knows; undefined where its config does not say. */
  readonly #vocabularySize: number | undefined

  private constructor(
    model: EncoderModel,
    codec: TextCodec,
    facts: EngineFacts,
    vocabularySize: number | undefined,
  ) {
    this.#model = model
    this.#codec = codec
    this.#vocabularySize = vocabularySize
    this.facts = facts
  }

  /** Throws `model-unsupported`. */
  static async open(context: EmbeddingContext, facts: EngineFacts): Promise<EmbeddingEngine> {
    const { output, pooling, codec } = context.text
    const session = await openSession({ model: context.path }, { threads: context.threads })
    const batches = { rowsMax: facts.slots, tokensMax: TOKENS_PER_STEP_MAX }
    return new EmbeddingEngine(
      new EncoderModel(session, output, pooling, batches),
      codec,
      facts,
      context.files.config.vocab_size,
    )
  }

  async run(
    request: EngineRequest,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<EngineResult> {
    signal?.throwIfAborted()
    try {
      const embedding = ofRequest(() => readEmbeddingRequest(request))
      const texts = ofRequest(() => embedding.inputs.map((input) => this.#tokensOf(input)))
      const vectors = await Promise.all(texts.map((tokens) => this.#model.encode(tokens, signal)))
      const promptTokens = texts.reduce((sum, tokens) => sum + tokens.length, 0)
      return ofRequest(() => writeEmbeddings(embedding, vectors, promptTokens))
    } catch (error) {
      if (isHearthError(error, 'request-invalid')) return refusal(error)
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#model.close()
  }

  #tokensOf(input: string | number[]): number[] {
    const tokens = typeof input === 'string' ? this.#codec.encodeText(input) : input
    checkInputTokens(tokens, {
      contextLengthMax: this.facts.contextLengthMax,
      vocabularySize: this.#vocabularySize,
    })
    return tokens
  }
}
