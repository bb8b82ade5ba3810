import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { requirePatchable } from './patched.ts'

/** Bytes after which what was made for them is collected; V8 marks everything when 64 MiB of it wait, or as much as the heap may grow by. */
const COLLECT_EVERY_BYTES: number = 4 * 1024 * 1024

type Collect = (options: { type: 'minor' }) => void

// The only way to get gc() in a process that was started without --expose-gc.
setFlagsFromString('--expose-gc')
const { gc: collect } = requirePatchable(
  'node',
  { gc: runInNewContext('globalThis.gc') as Collect },
  { gc: 0 },
)
setFlagsFromString('--no-expose-gc')

let bytesSince = 0

/**
 * Counts bytes of short-lived buffers and runs young-generation garbage collections in time. libp2p makes
 * several such buffers for each byte. V8 ignores their size below 64 MiB, and then marks its whole heap:
 * 30 times a second at 200 MB/s, 10 to 25 ms each, half of the CPU time of a transfer. A collection of the
 * young generation takes 1 ms.
 */
export function countYoungGarbage(bytes: number): void {
  bytesSince += bytes
  if (bytesSince < COLLECT_EVERY_BYTES) return
  bytesSince = 0
  collect({ type: 'minor' })
}
