// Runs sequences through a model in steps that they share: the shell of slot-scheduler-core.ts.
import { HearthError, messageOf } from '../base/errors.ts'
import { KV_PARTS, KvStore } from './kv-store.ts'
import { SlotScheduler, type DecodeRow, type PrefillRow, type Step } from './slot-scheduler-core.ts'
import type { StepGraph, StepOutput } from './step-graph.ts'
import type { TokenModel, TokenModelFacts, TokenSequence } from './token-model.ts'

export interface SlotModelOptions {
  /** Prompt tokens of one step, padding included. */
  prefillTokensMax: number
  /** Bytes of the key-value store. */
  storeBytesMax: number
}

interface Run {
  sequence: TokenSequence
  /** Chosen, and not yet in the store. */
  lastToken: number
  finish: (error?: unknown) => void
}

export class SlotModel implements TokenModel {
  readonly facts: TokenModelFacts
  readonly #graph: StepGraph
  readonly #store: KvStore
  readonly #scheduler: SlotScheduler
  readonly #runs = new Map<number, Run>()
  #nextRun = 0
  #isLooping = false
  #failure: HearthError | undefined

  constructor(graph: StepGraph, facts: TokenModelFacts, options: SlotModelOptions) {
    this.#graph = graph
    this.facts = facts
    this.#store = new KvStore(graph.kvShape, facts.slots)
    this.#scheduler = new SlotScheduler({
      slots: facts.slots,
      tokenBytes: KvStore.tokenBytes(graph.kvShape),
      ...options,
    })
  }

  run(sequence: TokenSequence, signal: AbortSignal | undefined): Promise<void> {
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
      this.#runs.set(id, { sequence, lastToken: -1, finish })
      this.#scheduler.add(id, sequence.promptTokens.length, sequence.tokensMax)
      if (!this.#isLooping) void this.#loop()
    })
  }

  async close(): Promise<void> {
    this.#fail(new HearthError('engine-failed', 'the engine was closed'))
    await this.#graph.close()
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

  /** A step that failed may have left the store half written: nothing more is run on it. */
  #fail(error: HearthError): void {
    this.#failure ??= error
    for (const { finish } of this.#runs.values()) finish(error)
  }

  async #carryOut(step: Exclude<Step, { kind: 'wait' }>): Promise<void> {
    if (step.kind === 'move') return this.#store.move(step.from, step.to)
    this.#store.resize(step.capacity, this.facts.slots)
    await (step.kind === 'prefill' ? this.#prefill(step.rows) : this.#decode(step.rows, step.span))
  }

  async #prefill(rows: readonly PrefillRow[]): Promise<void> {
    const [first] = rows
    if (first === undefined) return
    const past =
      first.from === 0
        ? ({ kind: 'none' } as const)
        : ({ kind: 'packed', slot: first.slot, count: first.from } as const)
    const tokens = rows.map(({ sequence, from, count }) => this.#promptPart(sequence, from, count))
    const output = await this.#graph.run(
      { rows: tokens, past, pastLengths: rows.map(({ from }) => from) },
      this.#store,
    )
    for (const [row, { sequence, slot, from, count, isLast }] of rows.entries()) {
      this.#keep(output, row, slot, from, count)
      if (isLast) this.#choose(sequence, output.logits(row))
    }
  }

  /** A sequence cancelled a moment ago computes in vain. */
  #promptPart(sequence: number, from: number, count: number): number[] {
    const run = this.#runs.get(sequence)
    return run?.sequence.promptTokens.slice(from, from + count) ?? Array.from({ length: count }, () => 0)
  }

  async #decode(rows: readonly DecodeRow[], span: number): Promise<void> {
    const tokens = Array.from({ length: span }, () => [0])
    const pastLengths = Array.from({ length: span }, () => 0)
    for (const { sequence, slot, from } of rows) {
      tokens[slot] = [this.#runs.get(sequence)?.lastToken ?? 0]
      pastLengths[slot] = from
    }
    const output = await this.#graph.run({ rows: tokens, past: { kind: 'slots' }, pastLengths }, this.#store)
    for (const { sequence, slot, from } of rows) {
      this.#keep(output, slot, slot, from, 1)
      this.#choose(sequence, output.logits(slot))
    }
  }

  #keep(output: StepOutput, row: number, slot: number, to: number, count: number): void {
    const place = { row, from: output.newFrom(row), slot, to, count }
    for (let layer = 0; layer < this.#graph.kvShape.layers; layer += 1) {
      for (const part of KV_PARTS) this.#store.write(layer, part, output.keyValues(layer, part), place)
    }
  }

  #choose(sequence: number, logits: Float32Array): void {
    const run = this.#runs.get(sequence)
    if (run === undefined) return
    const token = run.sequence.next(logits)
    if (token === undefined) run.finish()
    else run.lastToken = token
  }
}
