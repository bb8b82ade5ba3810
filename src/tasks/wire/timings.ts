/*
 * When the two ends of a task stream act by the clock, ms. The simulator sends no heartbeats: it works out
 * from these when they would be missed.
 */

/** Longest interval between messages of either end. */
export const ALIVE_EVERY_MS = 2_000
/** Silence after which a submitter drops a peer: five heartbeats. */
export const PEER_SILENCE_MS = 10_000
/** Silence after which a peer drops a submitter; longer, so that the requests are already leased elsewhere. */
export const SUBMITTER_SILENCE_MS = 15_000
/** Deadline for dialling a peer, opening a stream and sending the first message. */
export const OPEN_MS = 5_000
