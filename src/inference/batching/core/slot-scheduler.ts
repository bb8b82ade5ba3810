// Decides what the model computes next: which sequences share a step, in which slots of the key-value
// store. Continuous batching: a sequence enters as soon as a slot is free and leaves as soon as it is
// complete, whatever the others do. Pure.

export interface SlotSchedulerOptions {
  slots: number
  /** Prompt tokens of one prefill step, padding included. A longer prompt takes several steps. */
  prefillTokensMax: number
  /** Bytes of keys and values of one token, and of all slots together. */
  tokenBytes: number
  storeBytesMax: number
}

/** Prefill steps between two decode steps: slots fill fast, and running sequences never wait for long. */
const PREFILL_STEPS_IN_A_ROW_MAX = 4

/** Waiting sequences searched for ones that fit the first. */
const LOOKAHEAD = 256

/** A multiple of the width of vector units and matrix kernels, so that results do not depend on it. */
export const CAPACITY_TOKENS_MIN = 64

/** A part of a prompt to compute. */
export interface PrefillRow {
  sequence: number
  slot: number
  /** Tokens of the sequence that are in the store. */
  from: number
  /** Tokens to compute. */
  count: number
  /** Whether this part completes the prompt, so that its last logits choose a token. */
  isLast: boolean
}

export interface DecodeRow {
  sequence: number
  slot: number
  /** Tokens of the sequence that are in the store. */
  from: number
}

export type Step =
  /**
   * Several rows that begin at 0, or after the same `prefix`; or one row. `capacity`: tokens that a
   * slot must hold by then.
   */
  | { kind: 'prefill'; rows: PrefillRow[]; prefix: number | undefined; capacity: number }
  /** One token for each row. Their slots are below `span`; other slots below it are computed and ignored. */
  | { kind: 'decode'; rows: DecodeRow[]; span: number; capacity: number }
  /** Copy a slot, so that decoding spans fewer. */
  | { kind: 'move'; sequence: number; from: number; to: number }
  | { kind: 'wait' }

interface Sequence {
  id: number
  promptLength: number
  /** Largest length, tokens. */
  lengthMax: number
  /** Tokens in the store. */
  stored: number
  /** The prompt's prefix; it is copied into the slot at the first step. */
  prefix: number | undefined
}

/** A shared prefix of prompts, with its number of tokens. */
export interface SharedPrefix {
  id: number
  length: number
}

export class SlotScheduler {
  readonly #options: SlotSchedulerOptions
  readonly #waiting = new Map<number, Sequence>()
  readonly #slots: (Sequence | undefined)[]
  readonly #slotOf = new Map<number, number>()
  #prefillSteps = 0
  #capacity = 0

  constructor(options: SlotSchedulerOptions) {
    this.#options = options
    this.#slots = Array.from({ length: options.slots })
  }

  get activeCount(): number {
    return this.#slotOf.size
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  /**
   * A sequence of `promptLength` tokens (at least 1) to which at most `tokensMax` are added. A prefix is
   * shorter than the prompt; the caller has its keys and values by the time of the first step.
   */
  add(id: number, promptLength: number, tokensMax: number, prefix?: SharedPrefix): void {
    const lengthMax = promptLength + tokensMax
    const stored = prefix?.length ?? 0
    this.#waiting.set(id, { id, promptLength, lengthMax, stored, prefix: prefix?.id })
  }

  /** Removes a complete or cancelled sequence; its slot is free at once. */
  remove(id: number): void {
    this.#waiting.delete(id)
    const slot = this.#slotOf.get(id)
    if (slot === undefined) return
    this.#slots[slot] = undefined
    this.#slotOf.delete(id)
  }

  /** The next step. It counts as done: the caller runs it, then removes the complete sequences. */
  next(): Step {
    const decoding = this.#decodingCount()
    const mayPrefill = decoding === 0 || this.#prefillSteps < PREFILL_STEPS_IN_A_ROW_MAX
    const prefill = mayPrefill ? (this.#continuePrompt() ?? this.#admit()) : undefined
    if (prefill !== undefined) {
      this.#prefillSteps += 1
      return prefill
    }
    if (decoding === 0) return { kind: 'wait' }
    const move = this.#compact()
    if (move !== undefined) return move
    this.#prefillSteps = 0
    return this.#decode()
  }

  #decodingCount(): number {
    let count = 0
    for (const slot of this.#slotOf.values()) if (isDecoding(this.#slots[slot])) count += 1
    return count
  }

  /** The next part of a prompt that did not fit one step. */
  #continuePrompt(): Step | undefined {
    for (const slot of this.#slotOf.values()) {
      const sequence = this.#slots[slot]
      if (sequence !== undefined && !isDecoding(sequence)) return this.#prefill([[sequence, slot]], undefined)
    }
    return undefined
  }

  /** Moves the longest-waiting sequence, and others with prompts of similar length, into free slots. */
  #admit(): Step | undefined {
    const admitted: [Sequence, number][] = []
    const free = this.#freeSlots()
    let padded = 0
    for (const sequence of this.#candidates()) {
      const slot = free.next().value
      padded = Math.max(padded, Math.min(unstoredLength(sequence), this.#options.prefillTokensMax))
      if (slot === undefined || padded * (admitted.length + 1) > this.#options.prefillTokensMax) break
      if (!this.#hasRoomFor(sequence)) break
      this.#waiting.delete(sequence.id)
      this.#slots[slot] = sequence
      this.#slotOf.set(sequence.id, slot)
      admitted.push([sequence, slot])
    }
    return admitted.length === 0 ? undefined : this.#prefill(admitted, admitted[0]?.[0].prefix)
  }

  *#freeSlots(): Generator<number> {
    for (const [slot, sequence] of this.#slots.entries()) if (sequence === undefined) yield slot
  }

  /** The first waiting sequence and similar ones: same prefix, padded to one length with at most a fifth of waste. */
  *#candidates(): Generator<Sequence> {
    const looked: Sequence[] = []
    for (const sequence of this.#waiting.values()) {
      if (looked.push(sequence) === LOOKAHEAD) break
    }
    const [first, ...others] = looked
    if (first === undefined) return
    yield first
    const length = lengthClass(unstoredLength(first))
    for (const other of others) {
      if (other.prefix === first.prefix && lengthClass(unstoredLength(other)) === length) yield other
    }
  }

  /** Whether the store can hold all active sequences at full length, and this one. An empty store takes any. */
  #hasRoomFor({ lengthMax }: Sequence): boolean {
    const { tokenBytes, storeBytesMax } = this.#options
    let longest = lengthMax
    for (const slot of this.#slotOf.values()) longest = Math.max(longest, this.#slots[slot]?.lengthMax ?? 0)
    const span = this.#slotOf.size + 1
    return span === 1 || span * capacityFor(longest) * tokenBytes <= storeBytesMax
  }

  #prefill(admitted: readonly [Sequence, number][], prefix: number | undefined): Step {
    const rows = admitted.map(([sequence, slot]) => {
      const from = sequence.stored
      const count = Math.min(sequence.promptLength - from, this.#options.prefillTokensMax)
      sequence.stored = from + count
      return { sequence: sequence.id, slot, from, count, isLast: isDecoding(sequence) }
    })
    return { kind: 'prefill', rows, prefix, capacity: this.#fitCapacity() }
  }

  /** Moves the last slot into the first hole. */
  #compact(): Step | undefined {
    const to = this.#slots.indexOf(undefined)
    const from = this.#slots.findLastIndex((sequence) => sequence !== undefined)
    const sequence = this.#slots[from]
    if (to < 0 || to > from || sequence === undefined) return undefined
    this.#slots[to] = sequence
    this.#slots[from] = undefined
    this.#slotOf.set(sequence.id, to)
    return { kind: 'move', sequence: sequence.id, from, to }
  }

  #decode(): Step {
    const rows: DecodeRow[] = []
    for (const [slot, sequence] of this.#slots.entries()) {
      if (sequence === undefined || !isDecoding(sequence)) continue
      rows.push({ sequence: sequence.id, slot, from: sequence.stored })
      sequence.stored += 1
    }
    return { kind: 'decode', rows, span: (rows.at(-1)?.slot ?? 0) + 1, capacity: this.#fitCapacity() }
  }

  /**
   * Enough for the longest and its next token, so that what a prompt fills to the brim is not copied right
   * after; less again only when a quarter would do, because changing it copies the store.
   */
  #fitCapacity(): number {
    let longest = 0
    for (const slot of this.#slotOf.values()) {
      const { stored = 0, lengthMax = 0 } = this.#slots[slot] ?? {}
      longest = Math.max(longest, Math.min(lengthMax, stored + 1))
    }
    const needed = capacityFor(longest)
    if (needed > this.#capacity || needed * 4 <= this.#capacity) this.#capacity = needed
    return this.#capacity
  }
}

function isDecoding(sequence: Sequence | undefined): boolean {
  return sequence !== undefined && sequence.stored >= sequence.promptLength
}

/** Tokens of the prompt that are left to compute. */
function unstoredLength({ promptLength, stored }: Sequence): number {
  return promptLength - stored
}

/**
 * Tokens that a slot holds when it must hold `length`: 64, 128, … 512, 640, … 1,024, 1,280, … Every step reads
 * all of them, so that at most an eighth is beyond what is needed; changing it moves what there is.
 */
export function capacityFor(length: number): number {
  let step = CAPACITY_TOKENS_MIN
  while (step * 8 < length) step *= 2
  return Math.max(CAPACITY_TOKENS_MIN, Math.ceil(length / step) * step)
}

/** Lengths of one class differ by at most a fifth. */
export function lengthClass(length: number): number {
  return Math.ceil(Math.log2(Math.max(8, length)) * 4)
}
