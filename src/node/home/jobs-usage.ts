import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import type { DataFolder } from './data-folder.ts'

/** The jobs of a data folder, and the bytes of their folders. */
export interface JobsSize {
  count: number
  bytes: number
}

/** How long a measurement is used again, ms: a download asks for the room left again and again. */
const MEASURED_FOR_MS = 10_000

/** Measures the room that jobs take. */
export class JobsUsage {
  readonly #clock: Clock
  readonly #data: DataFolder
  #measured: { atMs: number; size: Promise<JobsSize> } | undefined

  constructor(clock: Clock, data: DataFolder) {
    this.#clock = clock
    this.#data = data
  }

  async size(): Promise<JobsSize> {
    const nowMs = this.#clock.nowMs()
    if (this.#measured === undefined || nowMs - this.#measured.atMs >= MEASURED_FOR_MS)
      this.#measured = { atMs: nowMs, size: sizeOf(this.#data.jobsPath) }
    return await this.#measured.size
  }
}

/** Files and folders that go meanwhile count nothing. */
async function sizeOf(folder: string): Promise<JobsSize> {
  let count = 0
  let bytes = 0
  for (const job of await readdir(folder).catch(() => [])) {
    if (!job.startsWith('.')) count += 1
    for (const name of await readdir(join(folder, job)).catch(() => []))
      bytes += await stat(join(folder, job, name)).then(
        ({ size }) => size,
        () => 0,
      )
  }
  return { count, bytes }
}
