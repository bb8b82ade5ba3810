/** Times of libp2p and its DHT, ms. docs/decisions/0002 has what they were chosen by. */

/** Timings of libp2p and its DHT: see HostTiming in host.ts. */
export const HOST_TIMINGS = {
  addressDialMs: 1_500,
  dialMs: 3_000,
  handshakeMs: 3_000,
  dhtAnswerMinMs: 750,
  dhtAnswerMaxMs: 1_500,
  connectionCheckEveryMs: 15_000,
  connectionCheckMinMs: 10_000,
  connectionCheckMaxMs: 30_000,
  recordValidityMs: 120_000,
  recordRenewBeforeMs: 60_000,
  recordCheckEveryMs: 15_000,
  addressAgeMs: 3_600_000,
} as const
/** An idle guest makes room for a newcomer at most this often: see door/core/slots.ts. */
export const GUEST_DROPPED_EVERY_MS = 1_000
/** Peers that Kademlia keeps a record at, and that a bucket of its table has room for: kad-dht's own figure. */
export const DHT_BUCKET_SIZE = 20
/** Paths of a DHT query, and questions under way on each: kad-dht's 10 and 10 make a storm of a stampede. */
export const DHT_PARALLEL_QUESTIONS = 3
export const DHT_SELF_QUERY_EVERY_MS = 300_000
