/** When the shell of replication acts by the clock, ms, and the share of a disk that it may fill. */

/** How often a peer checks for due work and, during a shutdown, for copies on other peers. */
export const REPLICATION_TICK_MS = 250
/** How often the progress of fetches and the contexts of jobs are read. */
export const LOOK_HERE_EVERY_MS = 2_000
/** How often the room for spare copies is measured. */
export const ROOM_EVERY_MS = 10_000
/** One offer and its answer, dialling included. */
export const OFFER_ANSWER_MS_MAX = 5_000
/** Spare copies stop at this share of the store: the rest is for the owner's own contexts. */
export const SPARE_QUOTA_SHARE_MAX = 0.5
