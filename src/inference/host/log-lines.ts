import type { Readable } from 'node:stream'

/** A longer line of a native library is cut, bytes. */
const LINE_BYTES_MAX = 2_048

/** Calls `onLine` for every line that a process writes, so that native libraries never write over our output. */
export function logLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = (lines.pop() ?? '').slice(0, LINE_BYTES_MAX)
    for (const line of lines) {
      if (line !== '') onLine(line.slice(0, LINE_BYTES_MAX))
    }
  })
  stream.on('end', () => {
    if (rest !== '') onLine(rest)
  })
  // The pipe breaks with its process; the exit event reports why.
  stream.on('error', () => {})
}
