/**
 * All codes of Hearth's errors, with their meaning. docs/errors.md adds causes and remedies, and
 * test/base/errors.test.ts compares the two.
 */
export const ERROR_CODES = {
  usage: 'a command was called with arguments it does not take',
  'config-invalid': 'a setting or a file of the data folder cannot be used',
  'input-invalid': 'the job file has lines that are not requests',
  'output-unwritable': 'the output file cannot be written',
  'data-in-use': 'another process uses the same data folder or the same job',
  'data-corrupt': 'a file of the data folder is damaged',
  'data-inaccessible': 'a file of the data folder cannot be read or written',
  'deadline-passed': 'something did not happen in the time allowed for it',
  'frame-too-large': 'a peer announced a message over the limit',
  'message-invalid': 'a peer sent bytes that are not the message expected',
  'stream-closed': 'a stream ended before what it carried was complete',
  'peer-unreachable': 'a peer could not be dialled',
  'swarm-mismatch': 'a peer belongs to another swarm',
  'no-peers': 'no peer of the swarm could be reached',
  'context-unknown': 'no peer is known to hold the context',
  'context-ambiguous': 'a name stands for several contexts',
  'context-invalid': 'a folder or a manifest is not a context that Hearth can use',
  'context-unavailable': 'a context could not be fetched from any holder',
  'download-failed': 'a model could not be downloaded from its hub',
  'context-kept': 'a context is not removed because it is in use, or may be the last copy',
  'chunk-corrupt': 'bytes of a context do not have the hash that its manifest names',
  'disk-full': 'there is no room for what must be stored',
  'model-unsupported': 'the engine cannot run this model',
  'request-invalid': 'one request cannot be run as it is written',
  'engine-failed': 'the engine host failed or was killed',
  'limit-reached': 'a bound of base/limits.ts was reached',
  unschedulable: 'nothing can run the job, for the reason given',
  'scenario-invalid': 'a scenario or a trace given to the simulator cannot be used',
  internal: 'a defect of Hearth itself',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/**
 * An error whose message says what is wrong and what to do about it.
 * `data` holds the values a program needs to act on it; `message` is for people.
 */
export class HearthError extends Error {
  readonly code: ErrorCode
  readonly data: Readonly<Record<string, unknown>>

  constructor(
    code: ErrorCode,
    message: string,
    options: { data?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'HearthError'
    this.code = code
    this.data = options.data ?? {}
  }
}

/** Whether `error` is Hearth's own, with the code given (any code when none is). */
export function isHearthError(error: unknown, code?: ErrorCode): error is HearthError {
  return error instanceof HearthError && (code === undefined || error.code === code)
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
