// Makes an engine of a token model: text in OpenAI's form before it, and after it.
import type { Clock } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { randomInteger, seededRandom, type Random } from '../../base/random.ts'
import type { ContextFiles } from '../contract/model-folder.ts'
import type {
  Engine,
  EngineFacts,
  EngineRequest,
  EngineResult,
  EngineRunOptions,
} from '../contract/engine.ts'
import { Generation, type GenerationSettings } from '../sampling/generation.ts'
import { readTextRequest, type Prompt, type TextRequest } from './openai-request.ts'
import { writeResponse } from './openai-response.ts'
import { checkPromptTokens } from './request-check.ts'
import type { SamplingSettings } from '../sampling/sampling.ts'
import { TextCodec } from './text-codec.ts'
import type { TokenModel } from '../contract/token-model.ts'

/** OpenAI's default for completions. A chat may go on until the context is full. */
const COMPLETION_TOKENS_DEFAULT = 16

/** Defaults of a request: generation_config.json's settings, sampling only where that says `do_sample`. */
interface Defaults {
  sampling: SamplingSettings
  tokensMax: number | undefined
  endTokens: readonly number[]
}

export class TextEngine implements Engine {
  readonly facts: EngineFacts
  readonly #model: TokenModel
  readonly #codec: TextCodec
  readonly #defaults: Defaults
  readonly #clock: Clock
  readonly #random: Random

  /** Throws `context-invalid` when the tokenizer or the template cannot be used. */
  constructor(
    components: { model: TokenModel; clock: Clock; random: Random; codec?: TextCodec },
    files: ContextFiles,
  ) {
    this.#model = components.model
    this.#clock = components.clock
    this.#random = components.random
    this.#codec = components.codec ?? new TextCodec(files, () => components.clock.wallMs())
    this.#defaults = readDefaults(files, this.#codec.endToken)
    const { vocabularySize: _vocabularySize, ...facts } = components.model.facts
    this.facts = facts
  }

  async run(request: EngineRequest, options: EngineRunOptions = {}): Promise<EngineResult> {
    options.signal?.throwIfAborted()
    try {
      const text = ofRequest(() => readTextRequest(request))
      const generations = ofRequest(() => text.prompts.map((prompt) => this.#begin(text, prompt)))
      await this.#runAll(generations, options)
      const wallS = (): number => Math.floor(this.#clock.wallMs() / 1_000)
      return ofRequest(() => writeResponse(text, generations, this.#codec, wallS()))
    } catch (error) {
      if (isHearthError(error, 'request-invalid')) return refusal(error)
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#model.close()
  }

  /** Runs the prompts of one request side by side. The first that fails ends the others, and their slots are free. */
  async #runAll(generations: readonly Generation[], { signal, onProgress }: EngineRunOptions): Promise<void> {
    const [only] = generations
    if (only !== undefined && generations.length === 1) return await this.#model.run(only, signal, onProgress)
    const failure = new AbortController()
    const either = signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal])
    const runs = generations.map(async (generation) => {
      try {
        await this.#model.run(generation, either, onProgress)
      } catch (error) {
        failure.abort(error)
      }
    })
    await Promise.all(runs)
    failure.signal.throwIfAborted()
  }

  #begin(request: TextRequest, prompt: Prompt): Generation {
    const promptTokens = this.#codec.encode(prompt)
    const tokensMax = this.#tokensMax(request, promptTokens)
    const seed = request.seed ?? randomInteger(this.#random, 2 ** 32)
    const endTokens = request.ignoresEndToken ? [] : this.#defaults.endTokens
    const settings: GenerationSettings = {
      promptTokens,
      tokensMax,
      sampling: mergeSampling(request, this.#defaults.sampling),
      endTokens: new Set([...endTokens, ...request.stopTokens]),
      stopStrings: request.stopStrings,
      topLogprobs: request.topLogprobs,
    }
    return new Generation(settings, seededRandom(seed), (tokens) => this.#codec.decode(tokens))
  }

  /** Throws `request-invalid` when the prompt cannot be run. */
  #tokensMax(request: TextRequest, promptTokens: readonly number[]): number {
    const { contextLengthMax, vocabularySize } = this.#model.facts
    checkPromptTokens(promptTokens, { contextLengthMax, vocabularySize })
    const room = contextLengthMax - promptTokens.length
    const fallback = request.kind === 'completion' ? COMPLETION_TOKENS_DEFAULT : room
    return Math.min(room, request.tokensMax ?? this.#defaults.tokensMax ?? fallback)
  }
}

/** Exceptions from reading one request or writing its answer are that request's own error. */
export function ofRequest<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (isHearthError(error)) throw error
    const why = `this request cannot be answered: ${messageOf(error)}`
    throw new HearthError('request-invalid', why, { cause: error })
  }
}

export function refusal({ code, message, data }: HearthError): EngineResult {
  const doubt = data['doubtsWeights'] === true ? { doubtsWeights: true as const } : {}
  return { ok: false, statusCode: 400, error: { code, message, ...doubt } }
}

function readDefaults({ config, generationConfig }: ContextFiles, endToken: number | undefined): Defaults {
  const end = generationConfig.eos_token_id ?? config.eos_token_id ?? []
  return {
    sampling: {
      temperature: generationConfig.do_sample === true ? (generationConfig.temperature ?? 1) : 0,
      topK: generationConfig.top_k ?? 0,
      topP: generationConfig.top_p ?? 1,
      minP: generationConfig.min_p ?? 0,
      repetitionPenalty: generationConfig.repetition_penalty ?? 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
    },
    tokensMax: generationConfig.max_new_tokens ?? undefined,
    // The tokenizer's end token ends a text, too: fine-tuned models often name theirs there alone.
    endTokens: [...(typeof end === 'number' ? [end] : end), ...(endToken === undefined ? [] : [endToken])],
  }
}

function mergeSampling(request: TextRequest, defaults: SamplingSettings): SamplingSettings {
  return {
    temperature: request.temperature ?? defaults.temperature,
    topK: request.topK ?? defaults.topK,
    topP: request.topP ?? defaults.topP,
    minP: request.minP ?? defaults.minP,
    repetitionPenalty: request.repetitionPenalty ?? defaults.repetitionPenalty,
    presencePenalty: request.presencePenalty,
    frequencyPenalty: request.frequencyPenalty,
  }
}
