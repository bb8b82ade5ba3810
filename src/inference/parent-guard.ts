// A thread of the engine's process that ends it when its parent is gone. The main thread cannot: while
// native code computes, or hangs, it hears nothing.
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { every } from '../base/clock.ts'
import { systemClock } from '../base/system-clock.ts'

const CHECK_MS = 500

/** Starts the thread. An orphan is adopted by another process, so its parent's id changes. */
export function guardParent(): void {
  new Worker(new URL(import.meta.url), { workerData: process.ppid }).unref()
}

if (!isMainThread) {
  every(systemClock, CHECK_MS, () => {
    if (process.ppid !== workerData) process.kill(process.pid, 'SIGKILL')
  })
  // `every` keeps no thread alive by itself.
  systemClock.schedule(2 ** 31 - 1, () => {})
}
