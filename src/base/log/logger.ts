/** The log: data in fields, constant text. pino satisfies it. Never a prompt, never a secret. */
export interface Logger {
  debug(fields: object, text: string): void
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
}

/** Throws everything away. For tests, and for commands whose output is their own. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }
