/** When the shell of a download acts by the clock, ms. */

/** How often a download looks for sources that are late. */
export const DOWNLOAD_TICK_MS = 250
/** How long a fetch goes without one new byte before it fails with `context-unavailable`. */
export const UNAVAILABLE_AFTER_MS = 60_000
/** Chunks that come within this time are told together to a holder, which need not give them away first. */
export const TELL_HAVE_EVERY_MS = 500
/** Chunks that are asked of others are told within this time to a holder. */
export const TELL_CLAIM_EVERY_MS = 250
