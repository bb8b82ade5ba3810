// Finds a stop string in a text that arrives token by token, where a token may be part of a character.

const REPLACEMENT_CHARACTER = '\uFFFD'

export class StopStrings {
  readonly #stops: readonly string[]
  readonly #decode: (tokens: readonly number[]) => string
  readonly #lengthMax: number
  /** Tokens whose text is not settled yet, after a few settled ones that give them their spacing. */
  #window: number[] = []
  /** How many of the window are settled. */
  #settledCount = 0
  #text = ''
  #stoppedAt: number | undefined

  /** @param stops none of them empty */
  constructor(stops: readonly string[], decode: (tokens: readonly number[]) => string) {
    this.#stops = stops
    this.#decode = decode
    this.#lengthMax = Math.max(...stops.map((stop) => stop.length))
  }

  /** Whether the text now holds a stop string. */
  add(token: number): boolean {
    this.#window.push(token)
    const settled = this.#decode(this.#window.slice(0, this.#settledCount))
    const text = this.#decode(this.#window)
    // The rest of the character is in the tokens to come.
    if (text.endsWith(REPLACEMENT_CHARACTER) || text.length <= settled.length) return false
    const from = Math.max(0, this.#text.length - this.#lengthMax)
    this.#text += text.slice(settled.length)
    this.#window = this.#window.slice(this.#settledCount)
    this.#settledCount = this.#window.length
    this.#stoppedAt = this.#find(from)
    return this.#stoppedAt !== undefined
  }

  /** The text before the first stop string; undefined while there is none. */
  get textBeforeStop(): string | undefined {
    return this.#stoppedAt === undefined ? undefined : this.#text.slice(0, this.#stoppedAt)
  }

  #find(from: number): number | undefined {
    const places = this.#stops.map((stop) => this.#text.indexOf(stop, from)).filter((place) => place >= 0)
    return places.length === 0 ? undefined : Math.min(...places)
  }
}
