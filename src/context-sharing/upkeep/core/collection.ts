/*
 * Decides what is dropped first when the store needs room. A context's value is what it would cost to have it again,
 * weighed by how lately it was used, per byte that dropping it gives back; least valuable first. Pinned
 * contexts and those in use are no candidates, nor is one of which others have too few copies.
 */

/** The worth of a use halves in this time, ms. */
const USE_HALF_LIFE_MS: number = 7 * 24 * 3_600_000
/** A partial context that nobody went on with for this long goes before whole ones, ms. */
const PARTIAL_IDLE_MS: number = 24 * 3_600_000
/** The cost of fetching a context again beside its bytes: seconds of looking for holders. */
const FIND_AGAIN_S = 5
/** Taken as the rate of fetching again while none was measured: 5 MB/s. */
const FETCH_AGAIN_BYTES_PER_SECOND = 5_000_000
/** Replicas beyond so many make fetching again no cheaper. */
const HELPFUL_REPLICAS_MAX = 3

/** A context in the store, as collection sees it. */
export interface Holding {
  contextId: string
  isWhole: boolean
  /** Its files by content, each once, and the bytes of it that are here. Contexts may share files. */
  files: readonly { key: string; bytes: number }[]
  isPinned: boolean
  /** Why it cannot go now: loaded, being fetched, being served, or perhaps the last copy. */
  use: string | undefined
  /** When it was last used, ms of the same clock as `nowMs`. */
  usedAtMs: number
  /** Other peers that are known to hold all of it. */
  replicas: number
}

/** One that may go, and what that would give back. */
export interface Candidate {
  contextId: string
  /** Bytes that go with it when all candidates before it are gone already. */
  bytes: number
  /** Why it is next, for people. */
  words: string
}

export interface Collection {
  /** In the order in which they are to go. */
  candidates: Candidate[]
  /** Contexts that stay whatever happens, and why. */
  kept: { contextId: string; words: string }[]
}

/** Orders what is in the store by value. The order does not depend on the order of `holdings`. */
export function planCollection(
  holdings: readonly Holding[],
  nowMs: number,
  fetchBytesPerSecond: number = FETCH_AGAIN_BYTES_PER_SECOND,
): Collection {
  const kept: Collection['kept'] = []
  const left = new Map<string, Holding>()
  for (const holding of holdings) {
    const words = holding.isPinned ? 'it is pinned' : holding.use
    if (words === undefined) left.set(holding.contextId, holding)
    else kept.push({ contextId: holding.contextId, words })
  }
  const users = countUsers(holdings)
  const candidates: Candidate[] = []
  while (left.size > 0) {
    const [next] = [...left.values()]
      .map((holding) => ({ holding, ...rank(holding, users, nowMs, fetchBytesPerSecond) }))
      .sort(byValue)
    if (next === undefined) break
    left.delete(next.holding.contextId)
    for (const { key } of next.holding.files) users.set(key, (users.get(key) ?? 1) - 1)
    candidates.push({
      contextId: next.holding.contextId,
      bytes: next.bytes,
      words: wordsOf(next.holding, next.bytes, nowMs),
    })
  }
  return { candidates, kept: kept.sort(byId) }
}

interface Rank {
  /** Bytes that go with the context now. */
  bytes: number
  isStale: boolean
  value: number
}

function rank(
  holding: Holding,
  users: ReadonlyMap<string, number>,
  nowMs: number,
  fetchBytesPerSecond: number,
): Rank {
  const bytes = holding.files.reduce((sum, file) => sum + (users.get(file.key) === 1 ? file.bytes : 0), 0)
  const idleMs = Math.max(0, nowMs - holding.usedAtMs)
  const use = 2 ** (-idleMs / USE_HALF_LIFE_MS)
  const sources = Math.max(1, Math.min(HELPFUL_REPLICAS_MAX, holding.replicas))
  const againSeconds = FIND_AGAIN_S + bytes / (fetchBytesPerSecond * sources)
  return {
    bytes,
    isStale: !holding.isWhole && idleMs > PARTIAL_IDLE_MS,
    value: (use * againSeconds) / Math.max(1, bytes),
  }
}

type Ranked = Rank & { holding: Holding }

function byValue(left: Ranked, right: Ranked): number {
  return (
    Number(right.isStale) - Number(left.isStale) ||
    left.value - right.value ||
    byId(left.holding, right.holding)
  )
}

function byId(left: { contextId: string }, right: { contextId: string }): number {
  return left.contextId < right.contextId ? -1 : 1
}

/** How many contexts use each file. */
function countUsers(holdings: readonly Holding[]): Map<string, number> {
  const users = new Map<string, number>()
  for (const { files } of holdings) {
    for (const { key } of files) users.set(key, (users.get(key) ?? 0) + 1)
  }
  return users
}

function wordsOf({ isWhole, usedAtMs, replicas }: Holding, bytes: number, nowMs: number): string {
  const hours = Math.floor(Math.max(0, nowMs - usedAtMs) / 3_600_000)
  const used = usedAtMs === 0 ? 'it was never used' : `it was last used ${hours} h ago`
  return `${isWhole ? '' : 'it is incomplete, '}${used}, ${replicas} other peers have it, and deleting it frees ${bytes} bytes`
}
