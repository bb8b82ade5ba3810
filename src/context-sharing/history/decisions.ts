import type { Clock } from '../../base/clock.ts'
import type { EventSink } from '../../base/log/event-log.ts'
import { DECIDED_CONTEXTS_MAX, DECISIONS_PER_CONTEXT_MAX } from '../../base/limits.ts'

/**
 * Every decision that is told of, with what it means. docs/protocol/decision-log.md lists the same;
 * test/context-sharing/history/decisions.test.ts holds the two together.
 */
export const DECISION_CODES = {
  'fetch-begun': 'a download of the context starts',
  'fetch-complete': 'every byte of the context is verified and on disk',
  'fetch-failed': 'the download ended before that; what came is kept',
  'found-locally': 'bytes that other contexts here have were taken over instead of fetched',
  'source-chosen': 'chunks are asked of this peer',
  'source-left': 'no more chunks are asked of this peer for now',
  'source-banned': 'nothing is taken from this peer for an hour',
  'copy-enough': 'there are enough copies of it',
  'copy-nobody-holds-it': 'nobody who is here has it, so that no copy can be made',
  'copy-others-fetch-it': 'others make the missing copies',
  'copy-fetched-here': 'it is being fetched here anyway',
  'copy-opted-out': 'a copy is missing; this peer makes none (--no-replicate)',
  'copy-no-room': 'a copy is missing; there is no room for it here',
  'copy-joined-too-recently': 'a copy is missing; this peer has not been up for long enough to make one',
  'copy-fetches-another': 'a copy is missing; this peer is making one of another context',
  'copy-failed-lately': 'a copy is missing; making one here failed a short while ago',
  'copy-not-a-neighbour': 'a copy is missing; enough other peers are nearer to its key',
  'copy-awaiting-turn': 'a copy is missing; nearer peers may begin before this one',
  'copy-looking': 'a copy is missing; the DHT is asked who has it before one is made',
  'copy-neighbours-first': 'a copy is missing; this holder waits for a neighbour to fetch it',
  'copy-no-neighbour-takes-it': 'a copy is missing, and no peer takes one',
  'copy-asked-a-neighbour': 'a neighbour was asked to fetch it',
  'copy-handing-over': 'this peer leaves, and others have too few copies',
  'copy-handed-over': 'this peer leaves, and others have it now',
  'copy-held-elsewhere': 'this peer leaves, and others have it',
  'copy-begun': 'a spare copy is fetched',
  'copy-made': 'the spare copy is complete',
  'copy-failed': 'the spare copy could not be fetched; what came is kept',
  'copy-given-up': 'the spare copy is not needed any more; what came is kept',
  'copy-offered': 'this peer was asked to fetch a copy',
  'copy-accepted': 'a copy is made here for this peer',
  'copy-declined': 'no copy is made here for this peer',
  'holder-doubted': 'this peer did not show a chunk of what it says it has',
  'upload-refused': 'a peer that asked for chunks was sent elsewhere',
  collected: 'the copy here was dropped to make room',
  kept: 'the copy here was not dropped although room was wanted',
  removed: 'its owner removed the copy here',
  pinned: 'its owner pinned it: it is not dropped to make room',
  unpinned: 'its owner unpinned it: it may be dropped to make room',
  damaged: 'chunks on disk have not the right hash any more; they are fetched again',
} as const

export type DecisionCode = keyof typeof DECISION_CODES

/** Who decides: each keeps its own last decisions, so that a busy one does not push out another's. */
export type Decider = 'download' | 'upload' | 'replication' | 'store'

/** Why something was done about a context, or why not. */
export interface Decision {
  contextId: string
  by: Decider
  code: DecisionCode
  /** One sentence with the values that decided it, for people. */
  words: string
  /** The other peer concerned. */
  peer?: string | undefined
}

/** A decision with when it was made, ms since the Unix epoch. */
export type DatedDecision = Decision & { atMs: number }

/** What deciders get: a place to say what they decided. Never throws, never waits. */
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

  /** What was decided about a context lately, in order. */
  of(contextId: string): DatedDecision[] {
    const byDecider = [...(this.#contexts.get(contextId)?.values() ?? [])]
    return byDecider.flat().sort((left, right) => left.atMs - right.atMs)
  }
}
