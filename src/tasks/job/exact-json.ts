/** JSON.parse with source text access (ECMAScript), which TypeScript's library does not declare yet. */
const SourceJson = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown
  rawJSON(source: string): unknown
  isRawJSON(value: unknown): value is { rawJSON: string }
}

/** A number that a double may write differently: long, with a fraction, with an exponent, or minus zero. */
const RISKY_NUMBER = /(?:^|[:[,\s])-?(?:\d{16}|\d+[.eE]|0)/

/**
 * Parses JSON. A number that would be written differently again (over 2^53, `1.0`, `1e400`) is kept as
 * its text, which JSON.stringify writes as it stood. Throws SyntaxError.
 */
export function parseExact(text: string): unknown {
  if (!RISKY_NUMBER.test(text)) return JSON.parse(text) as unknown
  return SourceJson.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source
      ? SourceJson.rawJSON(source)
      : value,
  )
}

/** A parsed number as it stood in the text; undefined for anything else. */
export function exactNumberText(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return SourceJson.isRawJSON(value) ? value.rawJSON : undefined
}
