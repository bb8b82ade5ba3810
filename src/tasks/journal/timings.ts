/** When results become durable. docs/protocol/journal.md tells of these. */

/** The share of the time that commits take at most: a result waits for others once they would take more. */
export const COMMIT_SHARE = 0.1
/** How long a result waits for others at most, ms. */
export const COMMIT_WAIT_MS_MAX = 50
/** Results in one commit at most. */
export const COMMIT_GROUP_MAX = 512
