/** When the shell of uploads acts by the clock, ms. */

/** How often chunks are looked for that were shown to a fetcher which does not ask for them. */
export const RELEASE_LOOK_EVERY_MS = 1_000
/** Chunks that come within this time are told of together. */
export const HAVE_EVERY_MS = 100
/** When all sessions are taken, a fetcher may come again after this. */
export const SESSIONS_RETRY_MS = 5_000
