import type { Clock } from '../../base/clock.ts'
import type { EventSink } from '../../base/log/event-log.ts'
import { DECIDED_CONTEXTS_MAX, DECISIONS_PER_CONTEXT_MAX } from '../../base/limits.ts'

/**
 * Every logged decision and its meaning. docs/protocol/decision-log.md lists the same;
 * test/context-sharing/history/decisions.test.ts holds the two together.
 */
export const DECISION_CODES = {
  'fetch-begun': 'a download of the context starts',
  'fetch-complete': 'every byte of the context is verified and on disk',
  'fetch-failed': 'the download stopped early; its verified chunks are kept',
  'found-locally': 'bytes that other contexts here share were reused instead of downloaded',
  'source-chosen': 'this peer became a source: chunks are requested from it',
  'source-left': 'no more chunks are requested from this peer for now',
  'source-banned': 'this peer is banned as a source for an hour',
  'copy-enough': 'the context has enough copies',
  'copy-nobody-holds-it': 'no reachable peer has the context, so it cannot be copied',
  'copy-others-fetch-it': 'other peers are making the missing copies',
  'copy-fetched-here': 'this peer is already downloading the context',
  'copy-opted-out': 'a copy is missing; this peer makes none (--no-replicate)',
  'copy-no-room': 'a copy is missing; this peer has no room for it',
  'copy-joined-too-recently': 'a copy is missing; this peer has not been up for long enough to make one',
  'copy-fetches-another': 'a copy is missing; this peer is making one of another context',
  'copy-failed-lately': 'a copy is missing; making one here failed a short while ago',
  'copy-not-a-neighbour': 'a copy is missing; enough other peers are nearer to its key',
  'copy-awaiting-turn': 'a copy is missing; peers nearer to its key start first',
  'copy-looking': 'a copy is missing; the DHT is asked first which peers have one',
  'copy-neighbours-first': 'a copy is missing; this peer waits for another peer to copy it',
  'copy-no-neighbour-takes-it': 'a copy is missing; no peer accepts one',
  'copy-asked-a-neighbour': 'another peer was asked to copy it',
  'copy-handing-over': 'this peer is shutting down, and other peers have too few copies',
  'copy-handed-over': 'this peer is shutting down, and other peers now have the context',
  'copy-held-elsewhere': 'this peer is shutting down, and other peers have the context',
  'copy-begun': 'a spare copy is downloading',
  'copy-made': 'the spare copy is complete',
  'copy-failed': 'the spare copy failed to download; its verified chunks are kept',
  'copy-given-up': 'the spare copy is no longer needed; its verified chunks are kept',
  'copy-offered': 'this peer was asked to make a copy',
  'copy-accepted': 'a copy is made here because this peer asked',
  'copy-declined': 'this peer asked for a copy here and was refused',
  'holder-doubted': 'this peer failed to send a chunk of a context that it claims to have',
  'upload-refused': 'a peer that requested chunks was sent to other peers',
  collected: 'the copy here was deleted to make room',
  kept: 'the copy here was kept although room was needed',
  removed: 'the owner removed the copy here',
  pinned: 'the owner pinned the context: it is never deleted to make room',
  unpinned: 'the owner unpinned the context: it may be deleted to make room',
  damaged: 'corrupted chunks were found on disk; they are downloaded again',
} as const

export type DecisionCode = keyof typeof DECISION_CODES

/** The deciders. Each keeps its own last decisions, so that a busy one does not evict another's. */
export type Decider = 'download' | 'upload' | 'replication' | 'store'

/** Why a peer did something with a context, or did not. */
export interface Decision {
  contextId: string
  by: Decider
  code: DecisionCode
  /** One sentence for people, with the values behind the decision. */
  words: string
  /** The other peer concerned. */
  peer?: string | undefined
}

/** A decision with when it was made, ms since the Unix epoch. */
export type DatedDecision = Decision & { atMs: number }

/** Records a decision. Never throws and never waits. */
export interface DecisionSink {
  note(decision: Decision): void
}

/**
 * The last decisions about each context, for `hearth context show`; all of them go to the event log
 * (docs/protocol/decision-log.md). The contexts decided on longest ago are forgotten first.
 */
export class DecisionLog implements DecisionSink {
  readonly #clock: Clock
  readonly #events: EventSink | undefined
  readonly #contexts = new Map<string, Map<Decider, DatedDecision[]>>()

  constructor(clock: Clock, events?: EventSink) {
    this.#clock = clock
    this.#events = events
  }

  note(decision: Decision): void {
    const { code, ...rest } = decision
    this.#events?.add({ kind: code, ...rest })
    const { contextId, by } = decision
    const byDecider = this.#contexts.get(contextId) ?? new Map<Decider, DatedDecision[]>()
    const decisions = byDecider.get(by) ?? []
    decisions.push({ ...decision, atMs: this.#clock.wallMs() })
    if (decisions.length > DECISIONS_PER_CONTEXT_MAX) decisions.shift()
    byDecider.set(by, decisions)
    this.#contexts.delete(contextId)
    this.#contexts.set(contextId, byDecider)
    const [oldest] = this.#contexts.keys()
    if (this.#contexts.size > DECIDED_CONTEXTS_MAX && oldest !== undefined) this.#contexts.delete(oldest)
  }

  /** The latest decisions about a context, in order. */
  of(contextId: string): DatedDecision[] {
    const byDecider = [...(this.#contexts.get(contextId)?.values() ?? [])]
    return byDecider.flat().sort((left, right) => left.atMs - right.atMs)
  }
}
