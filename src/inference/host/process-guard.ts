// A thread that ends the engine's process when its parent is gone, or when it uses too much memory.
// The main thread cannot do this, because native code blocks it while it computes or hangs.
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { every } from '../../base/clock.ts'
import { systemClock } from '../../base/system-clock.ts'
import { MEMORY_SIGNAL } from './engine-messages.ts'

/** Native code fills some hundred megabytes in this time, ms. */
const CHECK_MS = 100

interface Guarded {
  parent: number
  residentBytesMax: number
}

/** Starts the thread. An orphan is adopted by another process, so its parent's id changes. */
export function guardProcess(residentBytesMax: number): void {
  const guarded: Guarded = { parent: process.ppid, residentBytesMax }
  new Worker(new URL(import.meta.url), { workerData: guarded }).unref()
}

if (!isMainThread) {
  const { parent, residentBytesMax } = workerData as Guarded
  every(systemClock, CHECK_MS, () => {
    if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL')
    if (process.memoryUsage.rss() > residentBytesMax) process.kill(process.pid, MEMORY_SIGNAL)
  })
  // `every` keeps no thread alive by itself.
  systemClock.schedule(2 ** 31 - 1, () => {})
}
