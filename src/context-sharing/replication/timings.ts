/** When the shell of replication acts by the clock, ms, and the share of a disk that it may fill. */

/** How often a peer looks whether something is due and, while it leaves, what others have by now. */
export const REPLICATION_TICK_MS = 250
/** How far fetches are, and what jobs run on, is looked up this often. */
export const LOOK_HERE_EVERY_MS = 2_000
/** How often the room for spare copies is measured. */
export const ROOM_EVERY_MS = 10_000
/** One offer and its answer, dialling included. */
export const OFFER_ANSWER_MS_MAX = 5_000
/** Spare copies are made while the store is filled no more than this: the rest is for what the owner runs. */
export const SPARE_QUOTA_SHARE_MAX = 0.5
