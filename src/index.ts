/** What a program that embeds Hearth may use. */
export { HearthError, isHearthError, ERROR_CODES } from './base/errors.ts'
export type { ErrorCode } from './base/errors.ts'
