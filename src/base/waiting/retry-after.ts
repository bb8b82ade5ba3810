/** `Retry-After` (RFC 9110, 10.2.3): seconds or a date, as ms from now. undefined when it is absent or neither. */
export function readRetryAfter(header: string | null, wallMs: number): number | undefined {
  if (header === null) return undefined
  const text = header.trim()
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000
  // oxlint-disable-next-line no-restricted-globals -- reads a date, not the time
  const ms = Date.parse(text) - wallMs
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}
