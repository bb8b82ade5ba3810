// What this machine computes with: its processor, its graphics cards, and which of onnxruntime's execution
// providers work here. onnxruntime lists what is compiled in, not what works; so each is tried on a small
// model, in a process of its own, since a provider that fails may take its process along.
import { execFile, fork } from 'node:child_process'
import { availableParallelism, cpus, freemem, totalmem } from 'node:os'
import type { Clock } from '../base/clock.ts'
import { withDeadline } from '../base/deadline.ts'
import { messageOf } from '../base/errors.ts'

const PROBE_ENTRY = new URL('./device-probe-main.ts', import.meta.url)
const PROBE_MS_MAX = 30_000
const NVIDIA_SMI_MS_MAX = 5_000
const OUTPUT_BYTES_MAX = 64 * 1024

/** Providers that onnxruntime-node can have, the processor's first. */
export const EXECUTION_PROVIDERS = ['cpu', 'cuda', 'webgpu', 'dml', 'coreml'] as const

export type ExecutionProvider = (typeof EXECUTION_PROVIDERS)[number]

export interface GraphicsCard {
  name: string
  memoryBytes: number
  memoryFreeBytes: number
  driver: string
}

export interface ProviderProbe {
  provider: ExecutionProvider
  isUsable: boolean
  /** How long the probe's model took, ms; or why it did not run. */
  ms?: number
  why?: string
}

export interface Devices {
  processor: { model: string; cores: number; memoryBytes: number; memoryFreeBytes: number }
  cards: GraphicsCard[]
  providers: ProviderProbe[]
}

/** What the probe's process says. */
export type ProbeAnswer = { ms: number } | { why: string }

/** Takes some seconds where providers have to be tried. Throws only the signal's reason. */
export async function probeDevices(
  clock: Clock,
  options: { providers?: readonly ExecutionProvider[]; signal?: AbortSignal | undefined } = {},
): Promise<Devices> {
  const { providers = EXECUTION_PROVIDERS, signal } = options
  const probes: ProviderProbe[] = []
  // One after the other: they would slow each other down.
  for (const provider of providers) probes.push(await probeProvider(clock, provider, signal))
  return {
    processor: {
      model: cpus()[0]?.model ?? 'unknown',
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      memoryFreeBytes: freemem(),
    },
    cards: await listCards(signal),
    providers: probes,
  }
}

async function probeProvider(
  clock: Clock,
  provider: ExecutionProvider,
  signal: AbortSignal | undefined,
): Promise<ProviderProbe> {
  const whose = `the probe of ${provider}`
  try {
    const answer = await withDeadline({ clock, ms: PROBE_MS_MAX, whose, signal }, (inner) =>
      askChild(provider, inner),
    )
    return { provider, isUsable: 'ms' in answer, ...answer }
  } catch (error) {
    signal?.throwIfAborted()
    return { provider, isUsable: false, why: messageOf(error) }
  }
}

function askChild(provider: ExecutionProvider, signal: AbortSignal): Promise<ProbeAnswer> {
  return new Promise((resolve, reject) => {
    const child = fork(PROBE_ENTRY, [provider], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    const end = (): void => void child.kill('SIGKILL')
    signal.addEventListener('abort', end, { once: true })
    child.once('message', (answer) => {
      resolve(answer as ProbeAnswer)
      end()
    })
    child.once('error', reject)
    child.once('exit', (code, killedBy) => {
      signal.removeEventListener('abort', end)
      resolve({ why: `its process ended (${killedBy ?? code})` })
    })
  })
}

/** NVIDIA's cards; none where its tool is not installed. */
function listCards(signal: AbortSignal | undefined): Promise<GraphicsCard[]> {
  const query = '--query-gpu=name,memory.total,memory.free,driver_version'
  const options = { timeout: NVIDIA_SMI_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX, ...(signal && { signal }) }
  return new Promise((resolve) => {
    execFile('nvidia-smi', [query, '--format=csv,noheader,nounits'], options, (error, output) => {
      resolve(error === null ? parseCards(output) : [])
    })
  })
}

/** Reads nvidia-smi's lines: name, MiB in all, MiB free, driver. What is no such line is left out. */
export function parseCards(output: string): GraphicsCard[] {
  return output.split('\n').flatMap((line) => {
    const [name, total, free, driver] = line.split(',').map((field) => field.trim())
    const bytesOf = (mebibytes: string | undefined): number => Number(mebibytes) * 1024 * 1024
    if (name === undefined || driver === undefined || !(bytesOf(total) > 0)) return []
    return [{ name, memoryBytes: bytesOf(total), memoryFreeBytes: bytesOf(free) || 0, driver }]
  })
}
