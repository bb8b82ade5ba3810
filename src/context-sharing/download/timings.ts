/** When the shell of a download acts by the clock, ms. */

/** How often a download looks for sources that are late. */
export const DOWNLOAD_TICK_MS = 250
/** How long a fetch goes without one new byte before it fails with `context-unavailable`. */
export const UNAVAILABLE_AFTER_MS = 60_000
