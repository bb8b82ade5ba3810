/** When the shell of a worker acts by the clock, ms. */

/** How often a worker looks for results whose acknowledgement is late. */
export const WORKER_TICK_MS = 1_000
/** How often submitters are told that a context still loads. */
export const WORKER_LOADING_TOLD_MS = 5_000
/** How long a draining peer waits for its last messages to leave. */
export const WORKER_FLUSH_MS_MAX = 1_000
