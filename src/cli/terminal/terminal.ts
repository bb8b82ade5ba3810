import { styleText } from 'node:util'

/** The output of a command: data goes to `out`, messages for people to `err`. */
export interface Terminal {
  readonly isJson: boolean
  /** Whether `err` is a terminal on which a block of lines can be redrawn. */
  readonly isInteractive: boolean
  /** One line of data. */
  print(line: string): void
  /** One line for people: progress, hints, warnings. */
  note(line: string): void
  /** One NDJSON event, with `--json` only. */
  event(event: { event: string } & Record<string, unknown>): void
  /** Redraws a block of lines in place; an empty block clears it. */
  redraw(lines: readonly string[]): void
}

interface Streams {
  out: NodeJS.WriteStream
  err: NodeJS.WriteStream
}

/** The terminal of this process. Redraws nothing in a pipe. */
export function openTerminal(
  isJson: boolean,
  streams: Streams = { out: process.stdout, err: process.stderr },
): Terminal {
  const { out, err } = streams
  let drawnLines = 0
  const isInteractive = !isJson && err.isTTY && process.env['TERM'] !== 'dumb'
  const clear = (): void => {
    if (drawnLines > 0) err.write(`\u001B[${drawnLines}A\u001B[0J`)
    drawnLines = 0
  }
  return {
    isJson,
    isInteractive,
    print(line) {
      clear()
      out.write(`${line}\n`)
    },
    note(line) {
      if (isJson) return
      clear()
      err.write(`${line}\n`)
    },
    event(event) {
      if (isJson) out.write(`${JSON.stringify(event)}\n`)
    },
    redraw(lines) {
      clear()
      if (!isInteractive || lines.length === 0) return
      const width = err.columns > 0 ? err.columns : 80
      err.write(`${lines.map((line) => line.slice(0, width - 1)).join('\n')}\n`)
      drawnLines = lines.length
    },
  }
}

/** Text in a style where the terminal shows colours; NO_COLOR and pipes give plain text. */
export function paint(style: Parameters<typeof styleText>[0], text: string): string {
  return styleText(style, text, { stream: process.stderr })
}

/** Rows as aligned columns. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows)
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length)
  return rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** 20000 → "20,000". */
export function formatCount(count: number): string {
  return new Intl.NumberFormat('en-GB').format(count)
}

/** 1536 → "1.5 KiB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? 'B'}`
}

/** 95_000 → "1 min 35 s". */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** The end of a peer id: enough to tell peers of one swarm apart. */
export function shortPeer(peer: string): string {
  return peer.length > 12 ? `…${peer.slice(-8)}` : peer
}
