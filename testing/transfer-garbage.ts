// A process started as bin/hearth.js starts one, through which bytes go as they do through libp2p: prints how often
// its whole heap was marked meanwhile. Argument: "peer" for one that serves.
import { PerformanceObserver, constants, type PerformanceEntry } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { countYoungGarbage } from '../src/base/young-garbage.ts'
import { tunePeerHeap } from '../src/node/peer-heap.ts'

const READ_BYTES = 64 * 1024
const READS = 4_096
const IN_FLIGHT = 64

setFlagsFromString('--heap-growing-percent=20')
if (process.argv[2] === 'peer') tunePeerHeap()
/** The memory of a peer itself: 25 MB. */
const own = Array.from({ length: 400_000 }, (_value, index) => ({ index }))
let marked = 0
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries() as (PerformanceEntry & { detail: { kind: number } })[]) {
    if (entry.detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) marked += 1
  }
})
observer.observe({ entryTypes: ['gc'] })
const inFlight: Uint8Array[] = []
for (let read = 0; read < READS; read += 1) {
  // One buffer each for bytes read, decrypted and sent.
  for (let copy = 0; copy < 3; copy += 1) inFlight.push(new Uint8Array(READ_BYTES))
  inFlight.splice(0, inFlight.length - IN_FLIGHT)
  countYoungGarbage(READ_BYTES)
  if (read % 16 === 0) await new Promise((resolve) => setImmediate(resolve))
}
await new Promise((resolve) => setTimeout(resolve, 50))
console.log(own.length > 0 ? marked : 0)
