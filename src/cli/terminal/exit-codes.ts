import { isHearthError, type ErrorCode } from '../../base/errors.ts'

/** The exit statuses of all commands, as docs/operating.md lists them. */
export const EXIT = {
  ok: 0,
  internal: 1,
  usage: 2,
  config: 3,
  /** The job ended with at least one failed request. */
  failedLines: 4,
  /** No peer answered, or none could run the job. */
  unschedulable: 6,
  /** Corrupted data: bytes that do not match their hash. */
  verification: 8,
  /** The disk or the memory is full, or the folder is in use or cannot be written. */
  localResource: 9,
  interrupted: 130,
} as const

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  usage: EXIT.usage,
  'input-invalid': EXIT.usage,
  'context-invalid': EXIT.usage,
  'context-ambiguous': EXIT.usage,
  'config-invalid': EXIT.config,
  'swarm-mismatch': EXIT.config,
  'context-unknown': EXIT.unschedulable,
  'context-unavailable': EXIT.unschedulable,
  'download-failed': EXIT.unschedulable,
  'no-peers': EXIT.unschedulable,
  'peer-unreachable': EXIT.unschedulable,
  unschedulable: EXIT.unschedulable,
  'data-corrupt': EXIT.verification,
  'chunk-corrupt': EXIT.verification,
  'data-in-use': EXIT.localResource,
  'disk-full': EXIT.localResource,
  'data-inaccessible': EXIT.localResource,
  'context-kept': EXIT.localResource,
  'output-unwritable': EXIT.localResource,
}

/** The exit status for an error that a command threw. */
export function exitCodeOf(error: unknown): number {
  return isHearthError(error) ? (BY_CODE[error.code] ?? EXIT.internal) : EXIT.internal
}
