import type {
  OwnHolding,
  PullReason,
  ReplicaTier,
  ReplicationCode,
  TakesReplicas,
} from './replication-state.ts'

/** An advert's entry for one context. */
export interface SaidContext {
  contextId: string
  tier: ReplicaTier
  share?: number | undefined
  bytes?: number | undefined
  /** It is being fetched now. */
  isFetching?: boolean | undefined
  /** Jobs run on it there. */
  isBusy?: boolean | undefined
}

export type ReplicationEvent =
  /** The advert of another peer. */
  | {
      kind: 'peer'
      peer: string
      takes: TakesReplicas
      isDraining: boolean
      contexts: readonly SaidContext[]
    }
  /** A peer tells nothing any more. It may be well: one that is not connected tells us nothing. */
  | { kind: 'peer-silent'; peer: string; heardMs: number }
  /** A peer no longer answers. */
  | { kind: 'peer-lost'; peer: string; heardMs: number }
  /** The held part of a context. */
  | { kind: 'own'; contextId: string; bytes?: number | undefined; holding: OwnHolding }
  | { kind: 'room'; bytes: number }
  /** The answer to `look`: what was found has come as `peer`. */
  | { kind: 'looked'; contextId: string }
  /** A pull is over. `hasGrown`: at least one chunk came. */
  | { kind: 'pulled'; contextId: string; outcome: 'stored' | 'failed' | 'cancelled'; hasGrown: boolean }
  /** Another peer asks this one to take a copy; the answer is an `accept` or a `decline`. */
  | {
      kind: 'offered'
      peer: string
      contextId: string
      bytes: number
      why: 'offered' | 'drain'
      copies: number
    }
  | { kind: 'offer-answered'; peer: string; contextId: string; isAccepted: boolean; isHeld: boolean }
  /** `lied`: it did not send, rightly, a chunk that it says it has. */
  | { kind: 'audited'; peer: string; contextId: string; outcome: 'held' | 'lied' | 'unknown' }
  /** While we leave: every chunk of a context that we have is on other peers. */
  | { kind: 'covered'; contextId: string }
  | { kind: 'drain' }
  | { kind: 'tick' }

export type ReplicationEffect =
  /** Ask the DHT who holds the context and who is near its key, and those what they say; then `looked`. */
  | { kind: 'look'; contextId: string }
  /** Ask a silent peer whether it is there; then `peer`, or `peer-lost` when it does not answer. */
  | { kind: 'ask'; peer: string; heardMs: number }
  /** Fetch a spare copy; then `pulled`. */
  | { kind: 'pull'; contextId: string; why: PullReason }
  | { kind: 'cancel'; contextId: string; code: ReplicationCode }
  /** Ask a peer to fetch a copy now. `copies`: those that others have. */
  | { kind: 'offer'; contextId: string; peer: string; why: 'offered' | 'drain'; copies: number }
  | { kind: 'accept'; contextId: string; peer: string }
  | { kind: 'decline'; contextId: string; peer: string; code: DeclineCode }
  /** Ask a peer for one chunk of a context, chosen at random; then `audited`. */
  | { kind: 'audit'; contextId: string; peer: string }
  /** The decision about a context, when it changed. */
  | {
      kind: 'decision'
      contextId: string
      code: ReplicationCode
      live: number
      graced: number
      making: number
      wanted: number
    }
  /** Nothing is left to hand over. */
  | { kind: 'drained' }

/** `unclaimed`: its advert does not say that it has it, or it was found not to. */
export type DeclineCode = 'unclaimed' | 'draining' | 'opted-out' | 'held' | 'no-room' | 'busy' | 'enough'
