// Runs sequences through a model in steps that they share: the shell of core/slot-scheduler.ts.
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { runApart, runKernels } from './apart.ts'
import { noNumbers } from '../contract/engine.ts'
import { KV_PARTS, KvStore, type KvPlace, type KvRows } from '../running/kv-store.ts'
import { PrefixFinder, type Prefix } from './core/prefix.ts'
import { PrefixStores } from './prefix-stores.ts'
import { SlotScheduler, type DecodeRow, type PrefillRow, type Step } from './core/slot-scheduler.ts'
import type { StepGraph, StepInput, StepOutput, StepPast } from '../running/step-graph.ts'
import type { TokenModel, TokenModelFacts, TokenSequence } from '../contract/token-model.ts'

export interface SlotModelOptions {
  /** Prompt tokens of one step, padding included. */
  prefillTokensMax: number
  /** Bytes of keys and values, those of shared prefixes among them. */
  storeBytesMax: number
  /** Whether a shared prefix is computed only once. Default true. Results are the same either way. */
  sharesPrefixes?: boolean
}

/** The prefixes' share of the bytes for keys and values. */
const PREFIX_SHARE = 1 / 8

/** A step that every model can compute: where it fails, the engine is at fault and no request is. */
const PROBE: StepInput = { rows: [[0, 0]], past: { kind: 'none' }, pastLengths: [0], wantsLogits: false }

interface Run {
  sequence: TokenSequence
  prefix: Prefix | undefined
  /** Chosen, and not yet in the store. */
  lastToken: number
  onProgress: (() => void) | undefined
  finish: (error?: unknown) => void
}

export class SlotModel implements TokenModel {
  readonly facts: TokenModelFacts
  readonly #graph: StepGraph
  readonly #options: SlotModelOptions
  readonly #store: KvStore
  readonly #scheduler: SlotScheduler
  readonly #prefixes: PrefixFinder | undefined
  readonly #prefixStores: PrefixStores
  readonly #runs = new Map<number, Run>()
  #nextRun = 0
  #isLooping = false
  #failure: HearthError | undefined

  constructor(graph: StepGraph, facts: TokenModelFacts, options: SlotModelOptions) {
    this.#graph = graph
    this.facts = facts
    this.#options = options
    // A step of one row may be given a second: see delta-graph.ts.
    this.#store = new KvStore(graph.kvShape, Math.max(2, facts.slots))
    const sharesPrefixes = graph.sharesPrefixes && options.sharesPrefixes !== false
    const prefixBytesMax = sharesPrefixes ? options.storeBytesMax * PREFIX_SHARE : 0
    this.#prefixes = sharesPrefixes ? new PrefixFinder() : undefined
    this.#prefixStores = new PrefixStores(graph.kvShape, prefixBytesMax)
    this.#scheduler = new SlotScheduler({
      slots: facts.slots,
      prefillTokensMax: options.prefillTokensMax,
      tokenBytes: KvStore.tokenBytes(graph.kvShape),
      storeBytesMax: options.storeBytesMax - prefixBytesMax,
    })
  }

  run(sequence: TokenSequence, signal: AbortSignal | undefined, onProgress?: () => void): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    return new Promise((resolve, reject) => {
      const id = this.#nextRun++
      const onAbort = (): void => finish(signal?.reason)
      const finish = (error?: unknown): void => {
        signal?.removeEventListener('abort', onAbort)
        this.#runs.delete(id)
        this.#scheduler.remove(id)
        if (error === undefined) resolve()
        else reject(error)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#begin(id, { sequence, onProgress, finish })
    })
  }

  async close(): Promise<void> {
    this.#fail(new HearthError('engine-failed', 'the engine was closed'))
    await this.#graph.close()
  }

  #begin(id: number, run: Pick<Run, 'sequence' | 'onProgress' | 'finish'>): void {
    const { sequence } = run
    const { promptTokens, tokensMax } = sequence
    const seen = this.#prefixes?.see(promptTokens)
    const prefix = seen !== undefined && this.#prefixStores.canHold(seen) ? seen : undefined
    this.#runs.set(id, { ...run, prefix, lastToken: -1 })
    const shared = prefix === undefined ? undefined : { id: prefix.id, length: prefix.tokens.length }
    this.#scheduler.add(id, promptTokens.length, tokensMax, shared)
    if (!this.#isLooping) void this.#loop()
  }

  async #loop(): Promise<void> {
    this.#isLooping = true
    try {
      // Requests that arrive together are admitted together.
      await Promise.resolve()
      for (let step = this.#scheduler.next(); step.kind !== 'wait'; step = this.#scheduler.next()) {
        await this.#carryOut(step)
      }
    } catch (error) {
      this.#fail(new HearthError('engine-failed', `the model: ${messageOf(error)}`, { cause: error }))
    } finally {
      this.#isLooping = false
    }
  }

  /** A failed step may leave the store half written, so nothing more runs on it. */
  #fail(error: HearthError): void {
    this.#failure ??= error
    for (const { finish } of this.#runs.values()) finish(error)
  }

  async #carryOut(step: Exclude<Step, { kind: 'wait' }>): Promise<void> {
    if (step.kind === 'move') return this.#store.move(step.from, step.to)
    this.#store.resize(step.capacity, this.facts.slots)
    if (step.kind === 'decode') {
      const { rows: all, span } = step
      await this.#apart(all, (rows) => this.#decode(rows, span, rows === all))
    } else {
      const { prefix } = step
      await this.#apart(step.rows, async (rows) => this.#prefill(rows, await this.#pastOf(rows, prefix)))
    }
    for (const { sequence } of step.rows) this.#runs.get(sequence)?.onProgress?.()
  }

  /** One request that the kernels cannot compute fails alone: its batch mates run without it. */
  async #apart<Row extends { sequence: number }>(
    all: readonly Row[],
    step: (rows: readonly Row[]) => Promise<void>,
  ): Promise<void> {
    await runApart(all, step, {
      probe: () => this.#graph.run(PROBE),
      blame: ({ sequence }, error) => this.#runs.get(sequence)?.finish(error),
    })
  }

  /** The past of a prefill's rows; a shared prefix is copied into their slots. */
  async #pastOf(rows: readonly PrefillRow[], prefixId: number | undefined): Promise<StepPast> {
    const [first] = rows
    if (first === undefined || first.from === 0) return { kind: 'none' }
    const { slot, from } = first
    if (prefixId === undefined) return { kind: 'packed', store: this.#store, slot, count: from }
    const prefix = rows
      .map(({ sequence }) => this.#runs.get(sequence)?.prefix)
      .find((found) => found?.id === prefixId)
    // All rows were just cancelled: their results are ignored.
    if (prefix === undefined) return { kind: 'none' }
    const store = this.#prefixStores.get(prefix) ?? (await this.#computePrefix(prefix))
    for (const row of rows) this.#store.copyFrom(store, 0, row.slot, from)
    return { kind: 'packed', store, slot: 0, count: from }
  }

  /** Prefills a prefix, in parts when it is long, into a store of its own. */
  async #computePrefix(prefix: Prefix): Promise<KvStore> {
    const { tokens } = prefix
    const store = this.#prefixStores.add(prefix)
    for (let from = 0; from < tokens.length; from += this.#options.prefillTokensMax) {
      const part = tokens.slice(from, from + this.#options.prefillTokensMax)
      const past: StepPast = from === 0 ? { kind: 'none' } : { kind: 'packed', store, slot: 0, count: from }
      const input = { rows: [part], past, pastLengths: [from], wantsLogits: false }
      const output = await this.#runPrefix(prefix, input)
      this.#keep(output, store, [{ row: 0, slot: 0, to: from, count: part.length }])
    }
    return store
  }

  /** A prefix that cannot be computed is not kept half done. */
  async #runPrefix(prefix: Prefix, input: StepInput): Promise<StepOutput> {
    try {
      return await runKernels(() => this.#graph.run(input))
    } catch (error) {
      this.#prefixStores.drop(prefix)
      throw error
    }
  }

  async #prefill(rows: readonly PrefillRow[], past: StepPast): Promise<void> {
    const tokens = rows.map(({ sequence, from, count }) => this.#promptPart(sequence, from, count))
    const input = {
      rows: tokens,
      past,
      pastLengths: rows.map(({ from }) => (past.kind === 'none' ? 0 : from)),
      wantsLogits: this.#wantLogits(rows),
    }
    const output = await runKernels(() => this.#graph.run(input))
    this.#keep(
      output,
      this.#store,
      rows.map(({ slot, from, count }, row) => ({ row, slot, to: from, count })),
    )
    for (const [row, { sequence, slot, count, isLast }] of rows.entries()) {
      const place = { row, slot, last: count - 1, choosesToken: isLast }
      if (this.#hasNumbers(sequence, output, place) && isLast) this.#choose(sequence, output, row)
    }
  }

  /** A sequence that was just cancelled: its result is ignored. */
  #promptPart(sequence: number, from: number, count: number): number[] {
    const run = this.#runs.get(sequence)
    return run?.sequence.promptTokens.slice(from, from + count) ?? Array.from({ length: count }, () => 0)
  }

  async #decode(rows: readonly DecodeRow[], span: number, isWholeStep: boolean): Promise<void> {
    const tokens = Array.from({ length: span }, () => [0])
    const pastLengths = Array.from({ length: span }, () => 0)
    for (const { sequence, slot, from } of rows) {
      tokens[slot] = [this.#runs.get(sequence)?.lastToken ?? 0]
      pastLengths[slot] = from
    }
    const past: StepPast = { kind: 'slots', store: this.#store }
    const input = { rows: tokens, past, pastLengths, wantsLogits: this.#wantLogits(rows) }
    const output = await runKernels(() => this.#graph.run(input))
    this.#keep(
      output,
      this.#store,
      rows.map(({ slot, from }) => ({ row: slot, slot, to: from, count: 1 })),
    )
    // A step of some rows leaves others' pasts on the device wrong: they are sent anew.
    if (isWholeStep) output.kept?.()
    for (const { sequence, slot } of rows) {
      if (this.#hasNumbers(sequence, output, { row: slot, slot, last: 0, choosesToken: true })) {
        this.#choose(sequence, output, slot)
      }
    }
  }

  /** Stores a step's outputs for all rows at once: each output is read once, not once per row. */
  #keep(output: StepOutput, store: KvStore, rows: readonly Omit<KvPlace, 'from'>[]): void {
    const places = rows.map((place) => ({ ...place, from: output.newFrom(place.row) }))
    for (let layer = 0; layer < store.shape.layers; layer += 1) {
      for (const part of KV_PARTS) {
        store.write(layer, part, output.keyValues(layer, part), places)
      }
    }
  }

  /**
   * Whether a row's last token left numbers in the last layer, which any infinity or NaN before it reaches, and,
   * where a token is to be chosen, in the logits. Where it did not, the request is refused, and its slot cleared:
   * masked tokens count as zero times what the slot holds, and zero times NaN is none, so that whoever has the
   * slot next would be harmed.
   */
  #hasNumbers(
    sequence: number,
    output: StepOutput,
    { row, slot, last, choosesToken }: { row: number; slot: number; last: number; choosesToken: boolean },
  ): boolean {
    const { layers } = this.#store.shape
    const at = output.newFrom(row) + last
    const isFinite = KV_PARTS.every((part) =>
      Number.isFinite(this.#sumOf(output.keyValues(layers - 1, part), row, at)),
    )
    if (isFinite && (!choosesToken || output.hasNumbers(row))) return true
    this.#store.clear(slot)
    this.#runs.get(sequence)?.finish(noNumbers('prompt'))
    return false
  }

  #sumOf({ data, tokens }: KvRows, row: number, token: number): number {
    const { keyValueHeads, headSize } = this.#store.shape
    let sum = 0
    for (let head = 0; head < keyValueHeads; head += 1) {
      const from = ((row * keyValueHeads + head) * tokens + token) * headSize
      for (let index = from; index < from + headSize; index += 1) sum += data[index] as number
    }
    return sum
  }

  #wantLogits(rows: readonly { sequence: number }[]): boolean {
    return rows.some(({ sequence }) => this.#runs.get(sequence)?.sequence.isGreedy === false)
  }

  #choose(id: number, output: StepOutput, row: number): void {
    const run = this.#runs.get(id)
    if (run === undefined) return
    const { sequence } = run
    try {
      const token = sequence.isGreedy ? sequence.take(output.best(row)) : sequence.next(output.logits(row))
      if (token === undefined) run.finish()
      else run.lastToken = token
    } catch (error) {
      const why = `no token could be chosen for this request: ${messageOf(error)}`
      const isOwn = isHearthError(error, 'request-invalid')
      run.finish(isOwn ? error : new HearthError('request-invalid', why, { cause: error }))
    }
  }
}
