// The engine of embedding models: texts become vectors.
import { HearthError, isHearthError } from '../../base/errors.ts'
import { readEmbeddingRecipe, type EmbeddingRecipe } from '../contract/embedding-recipe.ts'
import type { ContextFiles } from '../contract/model-folder.ts'
import { readEmbeddingRequest, writeEmbeddings, type EmbeddingRequest } from '../text/embedding-request.ts'
import { shorten } from '../batching/embedding-head.ts'
import { EncoderModel, type EncoderText as Text } from '../batching/encoder-model.ts'
import { checkEncoder, hasTextOutput } from '../graph/encoder.ts'
import type {
  Engine,
  EngineFacts,
  EngineRequest,
  EngineResult,
  EngineRunOptions,
} from '../contract/engine.ts'
import { openSession } from '../running/onnx-session.ts'
import type { OnnxModel } from '../onnx/onnx-reader.ts'
import { checkEmbedding, checkInputTokens } from '../text/request-check.ts'
import { TextCodec } from '../text/text-codec.ts'
import { ofRequest, refusal } from '../text/text-engine.ts'

const TOKENS_PER_STEP_MAX = 2_048

/** The encoder's recipe, read from the context's files. */
export interface EncoderText {
  kind: 'encoder'
  /** The graph's output that the pooling reads. */
  output: string
  recipe: EmbeddingRecipe
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
  const recipe = await readEmbeddingRecipe(folder, files.config, hasTextOutput(model))
  return {
    kind: 'encoder',
    output: checkEncoder(model, recipe.pooling),
    recipe,
    codec: new TextCodec({ ...files, chatTemplate: undefined }, () => 0),
  }
}

export class EmbeddingEngine implements Engine {
  readonly facts: EngineFacts
  readonly #model: EncoderModel
  readonly #codec: TextCodec
  readonly #recipe: EmbeddingRecipe
  /** Tokens that the model knows; undefined where its config does not say. */
  readonly #vocabularySize: number | undefined

  private constructor(
    model: EncoderModel,
    { codec, recipe }: EncoderText,
    facts: EngineFacts,
    vocabularySize: number | undefined,
  ) {
    this.#model = model
    this.#codec = codec
    this.#recipe = recipe
    this.#vocabularySize = vocabularySize
    this.facts = facts
  }

  /** Throws `model-unsupported`. */
  static async open(
    { path, text, files, threads }: EmbeddingContext,
    facts: EngineFacts,
  ): Promise<EmbeddingEngine> {
    const session = await openSession({ model: path }, { threads })
    const batches = { rowsMax: facts.slots, tokensMax: TOKENS_PER_STEP_MAX }
    const model = new EncoderModel(session, text.output, text.recipe, batches)
    const contextLengthMax = Math.min(facts.contextLengthMax, text.recipe.tokensMax ?? Infinity)
    return new EmbeddingEngine(model, text, { ...facts, contextLengthMax }, files.config.vocab_size)
  }

  async run(request: EngineRequest, { signal, onProgress }: EngineRunOptions = {}): Promise<EngineResult> {
    signal?.throwIfAborted()
    try {
      const embedding = ofRequest(() => readEmbeddingRequest(request))
      const texts = ofRequest(() => this.#textsOf(embedding))
      const encode = async (text: Text): ReturnType<EncoderModel['encode']> => {
        const vector = await this.#model.encode(text, signal)
        onProgress?.()
        return vector
      }
      const vectors = await Promise.all(texts.map(encode))
      const promptTokens = texts.reduce((sum, { tokens }) => sum + tokens.length, 0)
      const cut = ofRequest(() => vectors.map((vector) => this.#cut(vector, embedding.dimensions)))
      return ofRequest(() => writeEmbeddings(embedding, cut, promptTokens))
    } catch (error) {
      if (isHearthError(error, 'request-invalid')) return refusal(error)
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#model.close()
  }

  /** Texts as the model reads them, with the prompt that the request names or the model wants. */
  #textsOf(embedding: EmbeddingRequest): Text[] {
    const prompt = checkEmbedding(embedding, this.#recipe)
    const promptTokens = this.#recipe.includesPrompt || prompt === '' ? 0 : this.#countPrompt(prompt)
    return embedding.inputs.map((input) => ({ tokens: this.#tokensOf(input, prompt), promptTokens }))
  }

  /** As sentence-transformers counts: with the special tokens before it, and without one behind it. */
  #countPrompt(prompt: string): number {
    const tokens = this.#codec.encodeText(this.#cased(prompt))
    const last = tokens.at(-1)
    return last !== undefined && this.#codec.isSpecial(last) ? tokens.length - 1 : tokens.length
  }

  #cased(text: string): string {
    return this.#recipe.lowercases ? text.toLowerCase() : text
  }

  #cut(vector: Float32Array, dimensions: number | undefined): Float32Array {
    if (dimensions === undefined || dimensions === vector.length) return vector
    if (dimensions > vector.length)
      throw invalid(`dimensions is ${dimensions}, and vectors of this model have ${vector.length}`)
    return shorten(vector, dimensions, this.#recipe.steps)
  }

  #tokensOf(input: string | number[], prompt: string): number[] {
    const tokens = typeof input === 'string' ? this.#codec.encodeText(this.#cased(prompt + input)) : input
    checkInputTokens(tokens, {
      contextLengthMax: this.facts.contextLengthMax,
      vocabularySize: this.#vocabularySize,
    })
    return tokens
  }
}

function invalid(why: string): HearthError {
  return new HearthError('request-invalid', why)
}
