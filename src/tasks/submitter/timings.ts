/** When the shell of a coordinator acts by the clock, ms. */

/** How often a coordinator checks its deadlines; `core/pace` skips ticks that change nothing. */
export const COORDINATOR_TICK_MS = 100
/** How long a stream may take to close when its job has ended. */
export const LINK_CLOSE_MS = 1_000
