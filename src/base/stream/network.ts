import type { MessageStream } from './message-stream.ts'

/**
 * The connection that a stream uses. Bulk transfers have a separate one: a round trip on the connection of
 * a bulk transfer takes 68 ms at the 99th percentile instead of 6.
 */
export type Lane = 'control' | 'bulk'

/** A protocol's short name and version, as 'task/1'. The swarm's id is put before it by node/. */
export type ProtocolName = `${string}/${number}`

export interface OpenOptions {
  lane: Lane
  /** How long dialling and negotiating may take, ms. */
  deadlineMs: number
  signal?: AbortSignal | undefined
}

/** The part of the network that a domain folder uses. node/ makes it from libp2p; tests from whatever they like. */
export interface Network {
  /** Our own peer id, as text. */
  readonly self: string
  /** Opens a stream to `peer`. Throws `peer-unreachable`, `swarm-mismatch` or `deadline-passed`. */
  open(peer: string, protocol: ProtocolName, options: OpenOptions): Promise<MessageStream>
  /** Serves a protocol until the returned function is called. What the handler throws ends its stream, and is logged. */
  handle(protocol: ProtocolName, handler: StreamHandler): Promise<() => Promise<void>>
}

export type StreamHandler = (stream: MessageStream, signal: AbortSignal) => Promise<void>
