/*
 * When the two ends of a task stream act by the clock, ms. The simulator sends no heartbeats: it works out
 * from these when they would be missed.
 */

/** Each end says at least this often that it is there. */
export const ALIVE_EVERY_MS = 2_000
/** A submitter takes a peer as lost of which it heard nothing for this long: five heartbeats. */
export const PEER_SILENCE_MS = 10_000
/** A peer takes a submitter as lost later than the other way round: its requests are then leased elsewhere already. */
export const SUBMITTER_SILENCE_MS = 15_000
/** How long dialling a peer and opening a stream to it may take, and saying on it what is wanted. */
export const OPEN_MS = 5_000
