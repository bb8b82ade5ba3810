/** When results become durable. docs/protocol/journal.md tells of these. */

/** Largest share of time spent in commits; above it, results wait and share a commit. */
export const COMMIT_SHARE = 0.1
/** Longest wait of a result for others to share its commit, ms. */
export const COMMIT_WAIT_MS_MAX = 50
/** Results in one commit at most. */
export const COMMIT_GROUP_MAX = 512
