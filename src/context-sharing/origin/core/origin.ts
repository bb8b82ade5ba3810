import type { OriginAnswer, OriginPhase } from '../../wire/origin-messages.ts'

/** Constants for choosing the downloader; docs/decisions/0010 explains them. */
export interface OriginTimes {
  /** A download counts as stalled after this long without a new byte, ms. */
  stalledAfterMs: number
  /** A downloader counts as gone after this silence, ms. */
  goneAfterMs: number
  /** How long hashing into the store may take before it is taken as stalled, ms. */
  importMsMax: number
  /** Without a downloader, the first in rank starts after this, ms; two that ask at once see each other by then. */
  settleMs: number
  /** Each further rank waits this much longer, ms. */
  staggerMs: number
}

export const ORIGIN_TIMES: Readonly<OriginTimes> = Object.freeze({
  stalledAfterMs: 30_000,
  goneAfterMs: 10_000,
  importMsMax: 600_000,
  settleMs: 1_500,
  staggerMs: 3_000,
})

/** All peer ids begin alike; their ends differ. */
const RING_CHARACTERS = 8

/** One peer's memory of others that want the same model. */
export interface OriginRace {
  readonly self: string
  readonly originId: string
  readonly downloads: Map<string, Seen>
  /** The time since which no peer is known to download it; undefined while one does. */
  idleSinceMs: number | undefined
}

/** A download as it was seen last. */
interface Seen {
  bytes: number
  isImporting: boolean
  /** When it had new bytes, or began to be hashed. */
  advancedMs: number
  heardMs: number
}

export interface OriginRound {
  own: OriginPhase
  /** The answers of the peers that were asked, one each. */
  answers: ReadonlyMap<string, OriginAnswer>
}

export type OriginVerdict =
  | { kind: 'stored'; contextId: string; peer: string }
  /** Download it, or go on with that. */
  | { kind: 'download' }
  /** `peer` downloads it; without one, it is another's turn to begin. */
  | { kind: 'wait'; peer: string | undefined; bytes: number; isImporting: boolean }

export function newOriginRace(self: string, originId: string): OriginRace {
  return { self, originId, downloads: new Map(), idleSinceMs: undefined }
}

/**
 * Decides how a peer gets a wanted model: from a peer that has it, else wait for the one that
 * downloads it, else download it when it is its turn. No leader is elected: each peer judges by what it
 * sees, and of two that download at once the one with fewer bytes gives way.
 */
export function decideOrigin(
  race: OriginRace,
  { own, answers }: OriginRound,
  nowMs: number,
  times: OriginTimes = ORIGIN_TIMES,
): OriginVerdict {
  const holder = holderOf(answers)
  if (holder !== undefined) return { kind: 'stored', ...holder }
  for (const [peer, answer] of answers) see(race, peer, answer, nowMs)
  see(race, race.self, own, nowMs)
  const first = firstOf(race, nowMs, times)
  if (first !== undefined) race.idleSinceMs = undefined
  if (first?.peer === race.self) return { kind: 'download' }
  if (first !== undefined) return { kind: 'wait', ...first }
  if (own.type !== 'waiting') return { kind: 'download' }
  const rivals = [...answers].filter(([, { type }]) => type === 'waiting').map(([peer]) => peer)
  if (rivals.length === 0 && race.downloads.size === 0) return { kind: 'download' }
  race.idleSinceMs ??= nowMs
  const dueMs = race.idleSinceMs + times.settleMs + rankAmong(race, rivals) * times.staggerMs
  if (nowMs >= dueMs) return { kind: 'download' }
  return { kind: 'wait', peer: undefined, bytes: 0, isImporting: false }
}

/** Every peer takes the same one of several contexts that are claimed to be the model. */
function holderOf(
  answers: ReadonlyMap<string, OriginAnswer>,
): { contextId: string; peer: string } | undefined {
  const holders = [...answers].flatMap(([peer, answer]) =>
    answer.type === 'stored' ? [{ peer, contextId: answer.contextId }] : [],
  )
  holders.sort((left, right) => compare(left.contextId, right.contextId) || compare(left.peer, right.peer))
  return holders[0]
}

function see(race: OriginRace, peer: string, answer: OriginAnswer, nowMs: number): void {
  if (answer.type !== 'downloading' && answer.type !== 'importing') {
    race.downloads.delete(peer)
    return
  }
  const isImporting = answer.type === 'importing'
  const bytes = isImporting ? Number.MAX_SAFE_INTEGER : answer.bytes
  const before = race.downloads.get(peer)
  const advancedMs = before !== undefined && bytes <= before.bytes ? before.advancedMs : nowMs
  race.downloads.set(peer, { bytes, isImporting, advancedMs, heardMs: nowMs })
}

/** The downloader with the most progress. */
function firstOf(
  race: OriginRace,
  nowMs: number,
  times: OriginTimes,
): { peer: string; bytes: number; isImporting: boolean } | undefined {
  const live = [...race.downloads].filter(([, seen]) => {
    const patienceMs = seen.isImporting ? times.importMsMax : times.stalledAfterMs
    return nowMs - seen.heardMs <= times.goneAfterMs && nowMs - seen.advancedMs <= patienceMs
  })
  live.sort(
    ([peer, seen], [other, otherSeen]) =>
      otherSeen.bytes - seen.bytes || compare(rankKey(race, peer), rankKey(race, other)),
  )
  const [first] = live
  return first && { peer: first[0], bytes: first[1].bytes, isImporting: first[1].isImporting }
}

/** How many of the others may begin before us. */
function rankAmong(race: OriginRace, others: readonly string[]): number {
  const own = rankKey(race, race.self)
  return others.filter((peer) => rankKey(race, peer) < own).length
}

/**
 * In the order of these peers begin: around the ring of peer ids from where the model stands, so that
 * it is not the same peer for every model.
 */
function rankKey({ originId }: OriginRace, peer: string): string {
  const place = peer.slice(-RING_CHARACTERS)
  const isBefore = place < originId.slice(-RING_CHARACTERS)
  return `${isBefore ? 1 : 0} ${place} ${peer}`
}

const compare = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0)
