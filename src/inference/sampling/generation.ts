// One text being generated: which token comes next, and when it is complete.
import type { Random } from '../../base/random.ts'
import {
  greatest,
  hasPenalties,
  logprobsOf,
  penalize,
  sample,
  TokenCounts,
  type SamplingSettings,
  type TokenLogprob,
} from './sampling.ts'
import { StopStrings } from './stop-strings.ts'
import type { TokenSequence } from '../contract/token-model.ts'

export interface GenerationSettings {
  promptTokens: number[]
  tokensMax: number
  sampling: SamplingSettings
  /** Tokens that end the text and are not part of it. */
  endTokens: ReadonlySet<number>
  stopStrings: readonly string[]
  /** Alternatives beside each token; undefined for no log-probabilities. */
  topLogprobs: number | undefined
}

export interface ScoredToken {
  chosen: TokenLogprob
  /** Likeliest first. */
  top: TokenLogprob[]
}

export class Generation implements TokenSequence {
  readonly promptTokens: readonly number[]
  readonly tokensMax: number
  /** The text's tokens; an end token is not among them. */
  readonly tokens: number[] = []
  /** One for each of `tokens`, when asked for. */
  readonly scores: ScoredToken[] = []
  readonly #settings: GenerationSettings
  readonly #random: Random
  readonly #counts: TokenCounts | undefined
  readonly #stops: StopStrings | undefined
  #hasEnded = false
  #tokensComputed = 0

  constructor(settings: GenerationSettings, random: Random, decode: (tokens: readonly number[]) => string) {
    this.#settings = settings
    this.promptTokens = settings.promptTokens
    this.tokensMax = settings.tokensMax
    this.#random = random
    this.#counts = hasPenalties(settings.sampling) ? new TokenCounts(settings.promptTokens) : undefined
    this.#stops = settings.stopStrings.length > 0 ? new StopStrings(settings.stopStrings, decode) : undefined
  }

  get isGreedy(): boolean {
    const { sampling, topLogprobs } = this.#settings
    return sampling.temperature === 0 && this.#counts === undefined && topLogprobs === undefined
  }

  next(logits: Float32Array): number | undefined {
    const token = this.#choose(logits)
    const { topLogprobs, endTokens } = this.#settings
    if (topLogprobs !== undefined && !endTokens.has(token)) {
      this.scores.push(logprobsOf(logits, token, topLogprobs))
    }
    return this.take(token)
  }

  take(token: number): number | undefined {
    this.#tokensComputed += 1
    if (this.#settings.endTokens.has(token)) return this.#end()
    this.tokens.push(token)
    this.#counts?.add(token)
    if (this.#stops?.add(token) === true) return this.#end()
    return this.tokens.length < this.tokensMax ? token : undefined
  }

  /** 'stop' when the model or a stop string ended the text, 'length' when there was no more room. */
  get finishReason(): 'stop' | 'length' {
    return this.#hasEnded ? 'stop' : 'length'
  }

  /** The tokens that the model computed, an end token too. */
  get tokensComputed(): number {
    return this.#tokensComputed
  }

  /** The text before the stop string that ended it; undefined when none did. */
  get stoppedText(): string | undefined {
    return this.#stops?.textBeforeStop
  }

  #choose(logits: Float32Array): number {
    const { sampling } = this.#settings
    if (this.#counts !== undefined) {
      return sample(penalize(logits, this.#counts, sampling), sampling, this.#random)
    }
    return sampling.temperature === 0 ? greatest(logits) : sample(logits, sampling, this.#random)
  }

  #end(): undefined {
    this.#hasEnded = true
    return undefined
  }
}
