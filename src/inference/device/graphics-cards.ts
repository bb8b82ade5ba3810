// The graphics cards of this machine: NVIDIA's tool where it is installed, else what the system lists.
import { execFile } from 'node:child_process'
import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'

const LIST_MS_MAX = 5_000
const OUTPUT_BYTES_MAX = 64 * 1024
const MEBIBYTE = 1024 * 1024

export interface GraphicsCard {
  name: string
  /** Undefined where it shares the machine's memory, or the system does not say. */
  memoryBytes: number | undefined
  memoryFreeBytes: number | undefined
  driver: string | undefined
}

/** One controller as systeminformation describes it; its memory is in MiB. */
export interface Controller {
  vendor?: string | undefined
  model?: string | undefined
  name?: string | undefined
  vram?: number | null | undefined
  vramDynamic?: boolean | undefined
  memoryFree?: number | undefined
  driverVersion?: string | undefined
}

/** Makers of cards that compute. A server's console or a virtual machine's screen is none. */
const MAKERS = /nvidia|\bamd\b|advanced micro devices|\bati\b|radeon|intel|apple|qualcomm|adreno/i

/** The cards, none where nothing is found in time. Throws only the signal's reason. */
export async function listCards(clock: Clock, signal?: AbortSignal): Promise<GraphicsCard[]> {
  const nvidia = await askNvidia(signal)
  signal?.throwIfAborted()
  if (nvidia.length > 0) return nvidia
  const whose = 'the list of graphics cards'
  try {
    const { controllers } = await withDeadline({ clock, ms: LIST_MS_MAX, whose, signal }, async () => {
      const { graphics } = await import('systeminformation')
      return await graphics()
    })
    return readControllers(controllers)
  } catch {
    signal?.throwIfAborted()
    return []
  }
}

function askNvidia(signal: AbortSignal | undefined): Promise<GraphicsCard[]> {
  const query = '--query-gpu=name,memory.total,memory.free,driver_version'
  const options = { timeout: LIST_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX, ...(signal && { signal }) }
  return new Promise((resolve) => {
    execFile('nvidia-smi', [query, '--format=csv,noheader,nounits'], options, (error, output) => {
      resolve(error === null ? readNvidia(output) : [])
    })
  })
}

/** Reads nvidia-smi's lines: name, MiB in all, MiB free, driver. What is no such line is left out. */
export function readNvidia(output: string): GraphicsCard[] {
  return output.split('\n').flatMap((line) => {
    const fields = line.split(',').map((field) => field.trim())
    const [name, total, free, driver] = fields
    if (name === undefined || driver === undefined) return []
    // A GPU that shares the machine's memory says "[N/A]".
    return [{ name, memoryBytes: bytesOf(Number(total)), memoryFreeBytes: bytesOf(Number(free)), driver }]
  })
}

/** Selects the cards that could compute from systeminformation's list. */
export function readControllers(controllers: readonly Controller[]): GraphicsCard[] {
  return controllers.flatMap(({ vendor, model, name, vram, vramDynamic, memoryFree, driverVersion }) => {
    const called = (name ?? model ?? '').trim()
    if (called === '' || !MAKERS.test(`${vendor} ${called}`)) return []
    return [
      {
        name: called,
        memoryBytes: vramDynamic === true ? undefined : bytesOf(vram ?? 0),
        memoryFreeBytes: bytesOf(memoryFree ?? 0),
        driver: driverVersion === undefined || driverVersion === '' ? undefined : driverVersion,
      },
    ]
  })
}

function bytesOf(mebibytes: number): number | undefined {
  return mebibytes > 0 ? mebibytes * MEBIBYTE : undefined
}
