// Finds the common prefix of a job's prompts: a system prompt, a template, examples.
// The prefix is computed once and copied into the slots of later prompts. Pure.

export interface PrefixFinderOptions {
  /** A shorter prefix is not worth its own step, tokens. */
  tokensMin: number
  /** Prompts that must share a beginning before it becomes a prefix. */
  sightingsMin: number
  /** Bounds on known prefixes and on candidate beginnings. */
  prefixesMax: number
  candidatesMax: number
}

const PREFIX_FINDER_DEFAULTS: PrefixFinderOptions = {
  tokensMin: 16,
  sightingsMin: 3,
  prefixesMax: 4,
  candidatesMax: 8,
}

export interface Prefix {
  readonly id: number
  readonly tokens: readonly number[]
}

interface Candidate {
  tokens: readonly number[]
  sightings: number
}

export class PrefixFinder {
  readonly #options: PrefixFinderOptions
  /** Both lists: least recently used first. */
  #prefixes: Prefix[] = []
  #candidates: Candidate[] = []
  #nextId = 0

  constructor(options: PrefixFinderOptions = PREFIX_FINDER_DEFAULTS) {
    this.#options = options
  }

  /** The longest known prefix of `prompt` that leaves at least one token; learns from the prompt. */
  see(prompt: readonly number[]): Prefix | undefined {
    const known = this.#longestKnown(prompt)
    const learned = this.#learn(prompt, known?.tokens.length ?? 0)
    const best = learned ?? known
    if (best === undefined) return undefined
    this.#prefixes = [...this.#prefixes.filter((prefix) => prefix !== best), best].slice(
      -this.#options.prefixesMax,
    )
    return best
  }

  #longestKnown(prompt: readonly number[]): Prefix | undefined {
    let longest: Prefix | undefined
    for (const prefix of this.#prefixes) {
      const { length } = prefix.tokens
      if (length <= (longest?.tokens.length ?? 0) || length >= prompt.length) continue
      if (sharedLength(prompt, prefix.tokens) === length) longest = prefix
    }
    return longest
  }

  /** A prefix sufficiently longer than `knownLength`, which `prompt` has just confirmed. */
  #learn(prompt: readonly number[], knownLength: number): Prefix | undefined {
    let best: Candidate | undefined
    let shared = 0
    for (const candidate of this.#candidates) {
      const length = Math.min(sharedLength(prompt, candidate.tokens), prompt.length - 1)
      if (length > shared) [best, shared] = [candidate, length]
    }
    if (best === undefined || shared < knownLength + this.#options.tokensMin) {
      if (prompt.length > knownLength + this.#options.tokensMin)
        this.#remember({ tokens: prompt, sightings: 1 })
      return undefined
    }
    const seen = this.#narrow(best, shared)
    if (seen.sightings < this.#options.sightingsMin) return undefined
    this.#candidates = this.#candidates.filter((candidate) => candidate !== seen)
    return { id: this.#nextId++, tokens: seen.tokens.slice() }
  }

  /** Counts one more prompt with these first `length` tokens. A longer candidate stays beside it. */
  #narrow(candidate: Candidate, length: number): Candidate {
    const isWhole = length === candidate.tokens.length
    const sightings = isWhole || candidate.sightings === 1 ? candidate.sightings + 1 : 2
    const narrowed = { tokens: isWhole ? candidate.tokens : candidate.tokens.slice(0, length), sightings }
    if (isWhole || candidate.sightings === 1) {
      this.#candidates = this.#candidates.filter((other) => other !== candidate)
    }
    this.#remember(narrowed)
    return narrowed
  }

  #remember(candidate: Candidate): void {
    this.#candidates = [...this.#candidates, candidate].slice(-this.#options.candidatesMax)
  }
}

/** The length of the common prefix of two sequences, tokens. */
export function sharedLength(left: readonly number[], right: readonly number[]): number {
  const length = Math.min(left.length, right.length)
  let shared = 0
  while (shared < length && left[shared] === right[shared]) shared += 1
  return shared
}
