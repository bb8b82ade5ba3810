import { CHUNK_BANS_MAX } from '../../../base/limits.ts'

/** How long a peer that sent corrupted chunks is banned, ms. */
const BAN_MS = 3_600_000

/** Banned peers. The oldest bans are forgotten first. */
export class ChunkBans {
  /** Until when a peer is banned, oldest first. */
  #untilMs: Map<string, number> | undefined

  has(peer: string, nowMs: number): boolean {
    return (this.#untilMs?.get(peer) ?? 0) > nowMs
  }

  add(peer: string, nowMs: number): void {
    const untilMs = (this.#untilMs ??= new Map())
    untilMs.delete(peer)
    untilMs.set(peer, nowMs + BAN_MS)
    const [oldest] = untilMs.keys()
    if (untilMs.size > CHUNK_BANS_MAX && oldest !== undefined) untilMs.delete(oldest)
  }
}
