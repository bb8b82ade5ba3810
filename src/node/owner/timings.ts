/** Times of job/1. docs/protocol/job.md tells of these. */

/** How long a peer may take to be dialled and to prove that it has the same owner, ms. */
export const OWNER_PROOF_DEADLINE_MS = 5_000
/** How long a question may take from then to its answer, ms: cancelling a large job writes its output. */
export const OWNER_ANSWER_DEADLINE_MS = 60_000
/** How long an output file stays open between two of its pages, ms. */
export const RESULT_READER_IDLE_MS = 30_000
/** How often the peer that a job was moved to is told again that it has the job, until it confirms, ms. */
export const CONFIRM_EVERY_MS = 60_000
