import { isHearthError, type ErrorCode } from '../../base/errors.ts'

/** What the exit status of every command says. docs/operating.md lists them. */
export const EXIT = {
  ok: 0,
  internal: 1,
  usage: 2,
  config: 3,
  /** The job ended, and at least one line is an error. */
  failedLines: 4,
  /** Nothing could run the job, or nobody was there. */
  unschedulable: 6,
  /** Damaged data, or bytes that do not have their hash. */
  verification: 8,
  /** Disk, memory, or a folder that another process uses. */
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
  'context-kept': EXIT.localResource,
  'output-unwritable': EXIT.localResource,
}

/** The exit status for what a command threw. */
export function exitCodeOf(error: unknown): number {
  return isHearthError(error) ? (BY_CODE[error.code] ?? EXIT.internal) : EXIT.internal
}
