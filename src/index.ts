/**
 * The parts that a program that embeds Hearth may use: docs/embedding.md shows it. Everything else in src/ may
 * change from one version to the next.
 */
export { startPeer, EmbeddedPeer, type EmbeddedPeerOptions } from './node/embed/embedded-peer.ts'
export { submitFile, type FileProgress, type SubmitFileOptions } from './node/embed/submit-file.ts'
export { readResults, type JobResult } from './node/embed/read-results.ts'
export type { JobSummary } from './node/jobs/submit-job.ts'
export type { PeerStatus, PeerSummary, ContextStatus } from './node/status/peer-status.ts'
export type { DrainOptions, DrainReport } from './node/contexts/departure.ts'
export type { ImportOptions, ImportResult } from './context-sharing/store/context-store.ts'
export type { JobFileOptions } from './tasks/job/job-file.ts'
export type { JournalCounts } from './tasks/journal/journal.ts'
export type { JobProgress, PeerProgress } from './tasks/submitter/job-progress.ts'
export type { Logger } from './base/log/logger.ts'
export { HearthError, isHearthError, ERROR_CODES } from './base/errors.ts'
export type { ErrorCode } from './base/errors.ts'
