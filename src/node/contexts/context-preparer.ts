import type { Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import type { ContextSharing } from '../../context-sharing/context-sharing.ts'
import type { FetchProgress } from '../../context-sharing/download/fetch.ts'
import type { ContextStore } from '../../context-sharing/store/context-store.ts'
import type { EngineResult } from '../../inference/contract/engine.ts'
import { WorkRate } from '../../base/work-rate.ts'
import type { EngineHost, EngineHostFacts } from '../../inference/host/engine-host.ts'
import type { PrepareOptions, RunOptions, RunResult, WarmContext } from '../../tasks/worker/worker.ts'

/** The loaded contexts of this peer, as far as they are used here. WarmContexts is one. */
export interface WarmPool {
  acquire(
    contextId: string,
    folder: string,
    options: { signal: AbortSignal },
  ): Promise<{ facts: Pick<EngineHostFacts, 'loadMs' | 'slots'>; release(): void }>
  borrow(contextId: string): { host: Pick<EngineHost, 'run'>; release(): void } | undefined
  evict(contextId: string, reason: string): Promise<boolean>
}

export interface ContextPreparerComponents {
  clock: Clock
  store: ContextStore
  sharing: ContextSharing
  warm: WarmPool
  /** The name of a context in the swarm, if it has one. */
  nameInSwarm(contextId: string): string | undefined
}

/** Times that a context is fetched because its files are damaged again. */
const MENDS_MAX = 3
/** Shortest interval between two hashes of a context because of its results, ms: some requests give NaN on sound weights. */
const RECHECK_MS = 600_000

/** Takes a context from wherever it is to warm: fetched from peers, verified, loaded in an engine host. */
export class ContextPreparer {
  readonly #components: ContextPreparerComponents
  /** When a context was last hashed again because of its results, and what came of it. */
  readonly #rechecks = new Map<string, { atMs: number; isSound: Promise<boolean> }>()
  readonly #fetchedFrom = new Map<string, Map<string, number>>()
  /** How long contexts took to load here, the last time. */
  readonly #loadMs = new Map<string, number>()
  /** Bytes per second of the time in which contexts were fetched. */
  readonly #fetchRate = new WorkRate({ memoryMs: 60_000, workMsMin: 100 })
  /** The measured rates of contexts that ran here. */
  readonly #rates = new Map<string, WorkRate>()

  constructor(components: ContextPreparerComponents) {
    this.#components = components
  }

  /** The `prepare` of a Worker. Throws why the context cannot be had or run. */
  async prepare(contextId: string, options: PrepareOptions): Promise<WarmContext> {
    const { store, warm } = this.#components
    store.memory.use(contextId)
    await this.#makeSound(contextId, options)
    options.onProgress('loading', 'loading the model')
    const lease = await warm.acquire(contextId, store.folder(contextId), { signal: options.signal })
    lease.release()
    this.#loadMs.set(contextId, lease.facts.loadMs)
    return {
      slots: lease.facts.slots,
      run: (request, options) => this.#run(contextId, request, options),
    }
  }

  /** Stored, and hashed since this peer started: an engine must not load what the disk has damaged. */
  async #makeSound(contextId: string, options: PrepareOptions): Promise<void> {
    const { store } = this.#components
    for (let times = 0; times < MENDS_MAX; times += 1) {
      if (store.tier(contextId).kind !== 'stored') await this.#fetch(contextId, options)
      options.onProgress('loading', 'checking the files')
      if (await store.verify(contextId, { isAgain: false, signal: options.signal })) return
    }
    throw new HearthError(
      'chunk-corrupt',
      `the disk of this peer damaged files of context ${contextId} ${MENDS_MAX} times; check the disk`,
    )
  }

  /** Whether the weights are what they should be; they are hashed again at most once in `RECHECK_MS`. */
  async #hasSoundWeights(contextId: string): Promise<boolean> {
    const { clock, store } = this.#components
    const last = this.#rechecks.get(contextId)
    if (last !== undefined && clock.nowMs() - last.atMs < RECHECK_MS) return await last.isSound
    const isSound = store.verify(contextId, { isAgain: true })
    this.#rechecks.set(contextId, { atMs: clock.nowMs(), isSound })
    if (await isSound) return true
    this.#rechecks.delete(contextId)
    return false
  }

  /**
   * The `discard` of a Worker: unloads a context, and removes what was fetched of it since this peer started. A
   * context that was on this disk before stays: it is its owner's.
   */
  async discard(contextId: string, { keepsFiles }: { keepsFiles: boolean }): Promise<void> {
    const { store, warm } = this.#components
    await warm.evict(contextId, 'no job uses it now')
    if (!keepsFiles && this.#fetchedFrom.has(contextId)) await store.remove(contextId)
  }

  /** From its files on disk to loaded, ms; undefined while it was not loaded since this peer started. */
  loadMs(contextId: string): number | undefined {
    return this.#loadMs.get(contextId)
  }

  /** How fast contexts were fetched; undefined while too little was to tell. */
  fetchBytesPerSecond(): number | undefined {
    return this.#fetchRate.perSecond(this.#components.clock.nowMs())
  }

  /** Completion tokens per second, all slots together; undefined while too little was run to tell. */
  tokensPerSecond(contextId: string): number | undefined {
    return this.#rates.get(contextId)?.perSecond(this.#components.clock.nowMs())
  }

  /** Holds the context for one request only, so that an idle one can make room for another. */
  async #run(
    contextId: string,
    { url, body }: { url: string; body: string },
    options: RunOptions,
  ): Promise<RunResult> {
    const { clock, warm } = this.#components
    const use = warm.borrow(contextId)
    if (use === undefined) throw new HearthError('engine-failed', 'the context was unloaded to make room')
    const rate = this.#rates.get(contextId) ?? new WorkRate()
    this.#rates.set(contextId, rate)
    let tokens = 0
    rate.begin(clock.nowMs())
    try {
      const result = await use.host.run({ url, body: JSON.parse(body) as unknown }, options)
      const isDoubtful = !result.ok && result.error.doubtsWeights === true
      if (isDoubtful && !(await this.#hasSoundWeights(contextId)))
        throw new HearthError('engine-failed', 'the weights are damaged on the disk of this peer')
      if (result.ok) tokens = result.usage.completionTokens
      return runResult(result)
    } finally {
      rate.end(tokens, clock.nowMs())
      use.release()
    }
  }

  /** Verified bytes of a context by the peer they came from, most first. */
  fetchedFrom(contextId: string): { peer: string; bytes: number }[] {
    const sources = [...(this.#fetchedFrom.get(contextId) ?? [])]
    return sources.map(([peer, bytes]) => ({ peer, bytes })).sort((a, b) => b.bytes - a.bytes)
  }

  async #fetch(contextId: string, options: PrepareOptions): Promise<void> {
    options.onProgress('fetching', 'looking for holders')
    const { clock, sharing } = this.#components
    let bytes = 0
    this.#fetchRate.begin(clock.nowMs())
    const result = await sharing
      .fetch(contextId, {
        signal: options.signal,
        priority: 'urgent',
        onProgress: (progress) => {
          bytes = progress.sources.reduce((sum, source) => sum + source.bytes, 0)
          options.onProgress('fetching', wordsOf(progress))
        },
      })
      .finally(() => this.#fetchRate.end(bytes, clock.nowMs()))
    const sources = this.#fetchedFrom.get(contextId) ?? new Map<string, number>()
    for (const { peer, bytes } of result.sources) sources.set(peer, (sources.get(peer) ?? 0) + bytes)
    this.#fetchedFrom.set(contextId, sources)
    await this.takeName(contextId)
  }

  /** A fetched context goes by the name it has in the swarm, so that jobs still find it when its first holder is gone. */
  async takeName(contextId: string): Promise<void> {
    const { store } = this.#components
    const name = this.#components.nameInSwarm(contextId)
    const taken = store.list().some(({ names }) => name !== undefined && names.includes(name))
    if (name !== undefined && !taken) await store.setName(name, contextId)
  }
}

const MIB = 1024 * 1024

function wordsOf({ bytesDone, bytesTotal, sources }: FetchProgress): string {
  const percent = bytesTotal === 0 ? 100 : Math.floor((100 * bytesDone) / bytesTotal)
  // The bytes change with every chunk, the percentage of a large context only after minutes.
  const done = `${percent} % (${Math.floor(bytesDone / MIB)} MiB)`
  return `${done} from ${sources.length} ${sources.length === 1 ? 'peer' : 'peers'}`
}

/** Errors of the request itself are the line's result; errors of this host send the request elsewhere. */
function runResult(result: EngineResult): RunResult {
  if (result.ok) {
    return {
      outcome: 'ok',
      statusCode: result.statusCode,
      body: JSON.stringify(result.body),
      ...result.usage,
    }
  }
  const outcome = result.statusCode < 500 ? 'bad-request' : 'retry'
  return {
    outcome,
    statusCode: result.statusCode,
    body: JSON.stringify({ code: result.error.code, message: result.error.message }),
    promptTokens: 0,
    completionTokens: 0,
  }
}
