/** When the shell of a worker acts by the clock, ms. */

/** How often results are looked for that nobody has acknowledged in time. */
export const WORKER_TICK_MS = 1_000
/** How long a peer that leaves waits for its last messages to go out. */
export const WORKER_FLUSH_MS_MAX = 1_000
