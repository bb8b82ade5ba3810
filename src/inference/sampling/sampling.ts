// From logits to a token. Pure: the same logits, settings and chance give the same token everywhere.
import type { Random } from '../../base/random.ts'

export interface SamplingSettings {
  /** 0: always the likeliest token. */
  temperature: number
  /** Keeps the likeliest `topK` tokens; 0 for all. */
  topK: number
  /** Keeps the likeliest tokens that together reach this probability; 1 for all. */
  topP: number
  /** Keeps tokens at least this fraction as likely as the likeliest; 0 for all. */
  minP: number
  /** Divides positive and multiplies negative logits of tokens in the sequence; 1 for none (Keskar et al. 2019). */
  repetitionPenalty: number
  /** Subtracted from the logits of tokens generated so far: once, and once for each time. */
  presencePenalty: number
  frequencyPenalty: number
}

/** The tokens of a sequence so far, with how often each was generated: what penalties look at. */
export class TokenCounts {
  /** Token → times generated; 0 for tokens of the prompt only. */
  readonly #counts = new Map<number, number>()

  constructor(promptTokens: Iterable<number>) {
    for (const token of promptTokens) this.#counts.set(token, 0)
  }

  add(token: number): void {
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1)
  }

  entries(): Iterable<[token: number, times: number]> {
    return this.#counts
  }
}

export function hasPenalties(settings: SamplingSettings): boolean {
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = settings
  return repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0
}

/** The logits with penalties applied, in an array of their own. */
export function penalize(
  logits: Float32Array,
  counts: TokenCounts,
  settings: SamplingSettings,
): Float32Array {
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = settings
  const penalized = logits.slice()
  for (const [token, times] of counts.entries()) {
    const logit = penalized[token]
    if (logit === undefined) continue
    const scaled = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty
    penalized[token] = scaled - (times > 0 ? presencePenalty + times * frequencyPenalty : 0)
  }
  return penalized
}

/** The token with the greatest logit; the first of equals. */
export function greatest(logits: Float32Array): number {
  let best = 0
  let bestLogit = -Infinity
  for (let token = 0; token < logits.length; token += 1) {
    const logit = logits[token] as number
    if (logit > bestLogit) {
      best = token
      bestLogit = logit
    }
  }
  return best
}

/** Chooses a token from logits (penalties applied). Draws from `random` once, and not at all at temperature 0. */
export function sample(logits: Float32Array, settings: SamplingSettings, random: Random): number {
  if (settings.temperature === 0) return greatest(logits)
  const weights = toWeights(logits, settings.temperature)
  const kept = keepLikely(weights, settings)
  return draw(weights, kept, random.next())
}

/** exp((logit − greatest) / temperature): 1 for the likeliest token. */
function toWeights(logits: Float32Array, temperature: number): Float64Array {
  const top = logits[greatest(logits)] as number
  const weights = new Float64Array(logits.length)
  for (let token = 0; token < logits.length; token += 1) {
    weights[token] = Math.exp(((logits[token] as number) - top) / temperature)
  }
  return weights
}

/** The tokens to choose from: top-k, then top-p of what is left, then min-p (the order of transformers). Undefined for all. */
function keepLikely(weights: Float64Array, settings: SamplingSettings): number[] | undefined {
  const { topK, topP, minP } = settings
  const isBounded = (topK > 0 && topK < weights.length) || topP < 1
  if (!isBounded) return minP > 0 ? tokensOver(weights, minP) : undefined
  const byLikelihood = likeliest(weights, topK > 0 ? topK : weights.length, topP)
  const nucleus = topP < 1 ? cutAtMass(weights, byLikelihood, topK, topP) : byLikelihood
  return minP > 0 ? nucleus.filter((token) => (weights[token] as number) >= minP) : nucleus
}

function tokensOver(weights: Float64Array, least: number): number[] {
  const tokens: number[] = []
  for (let token = 0; token < weights.length; token += 1) {
    if ((weights[token] as number) >= least) tokens.push(token)
  }
  return tokens
}

function sum(weights: Float64Array, tokens: readonly number[] | undefined): number {
  let total = 0
  if (tokens === undefined) for (const weight of weights) total += weight
  else for (const token of tokens) total += weights[token] as number
  return total
}

/**
 * The likeliest tokens, likeliest first (equals by id): at least the smaller of `count` tokens and
 * `share` of all probability, at most `count`. Sorts only tokens over a bar that is lowered until
 * enough are over it, because sorting a whole vocabulary for each token costs more than a small model.
 */
function likeliest(weights: Float64Array, count: number, share: number): number[] {
  const enough = share < 1 ? share * sum(weights, undefined) : Infinity
  for (let bar = 1 / 16; ; bar /= 256) {
    const tokens = tokensOver(weights, bar)
    if (tokens.length >= count || bar === 0 || sum(weights, tokens) >= enough) {
      return tokens
        .sort((left, right) => (weights[right] as number) - (weights[left] as number) || left - right)
        .slice(0, count)
    }
  }
}

/** The shortest head of `tokens` that has `topP` of their probability; without top-k, of all probability. */
function cutAtMass(weights: Float64Array, tokens: number[], topK: number, topP: number): number[] {
  const wanted = topP * sum(weights, topK > 0 ? tokens : undefined)
  let mass = 0
  for (const [index, token] of tokens.entries()) {
    mass += weights[token] as number
    if (mass >= wanted) return tokens.slice(0, index + 1)
  }
  return tokens
}

function draw(weights: Float64Array, kept: readonly number[] | undefined, chance: number): number {
  let left = chance * sum(weights, kept)
  const tokens = kept ?? weights.keys()
  let last = 0
  for (const token of tokens) {
    const weight = weights[token] as number
    if (weight === 0) continue
    left -= weight
    last = token
    if (left < 0) break
  }
  return last
}

export interface TokenLogprob {
  token: number
  logprob: number
}

/** Log-probabilities of `token` and of the `count` likeliest tokens, by the model itself: before temperature and penalties. */
export function logprobsOf(
  logits: Float32Array,
  token: number,
  count: number,
): { chosen: TokenLogprob; top: TokenLogprob[] } {
  const weights = toWeights(logits, 1)
  const logTotal = Math.log(sum(weights, undefined)) + (logits[greatest(logits)] as number)
  const at = (token: number): TokenLogprob => ({ token, logprob: (logits[token] as number) - logTotal })
  const top = count === 0 ? [] : likeliest(weights, Math.min(count, weights.length), 1)
  return { chosen: at(token), top: top.map(at) }
}
