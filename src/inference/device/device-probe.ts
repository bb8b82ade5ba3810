// Detects the hardware that this machine computes with: its processor, its graphics cards, and which of onnxruntime's execution
// providers work here. onnxruntime lists what is compiled in, not what works; so each is tried on a small
// model, in a process of its own, since a provider that fails may take its process along.
import { fork } from 'node:child_process'
import { availableParallelism, cpus, freemem, totalmem } from 'node:os'
import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import {
  chooseDevice,
  providersToTry,
  type Device,
  type DeviceWish,
  type ExecutionProvider,
  type Processor,
  type ProviderProbe,
} from './device-choice.ts'
import { listCards, type GraphicsCard } from './graphics-cards.ts'

const PROBE_ENTRY = new URL('./device-probe-main.ts', import.meta.url)
const PROBE_MS_MAX = 15_000

export interface Devices {
  processor: Processor
  cards: GraphicsCard[]
  /** Those that were tried. */
  probes: ProviderProbe[]
  /** The device that models run on. */
  chosen: Device
}

/** The report of the probe's process. */
export type ProbeAnswer = { ms: number } | { why: string }

/**
 * Looks for graphics cards, and tries providers until one works. Throws `config-invalid` when the one
 * that was asked for does not work here, or the signal's reason.
 */
export async function detectDevices(
  clock: Clock,
  options: { wish?: DeviceWish | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Devices> {
  const { wish = 'auto', signal } = options
  const processor = describeProcessor()
  const cards = await listCards(clock, signal)
  const probes: ProviderProbe[] = []
  for (const provider of providersToTry(wish, cards, process)) {
    const probe = await probeProvider(clock, provider, signal)
    probes.push(probe)
    if (probe.isUsable) break
  }
  const chosen = chooseDevice(processor, cards, probes)
  if (wish !== 'auto' && chosen.provider !== wish) {
    throw new HearthError(
      'config-invalid',
      `the device ${wish} does not work here (${probes[0]?.why ?? 'no reason given'}): see docs/devices.md, or use --device cpu`,
    )
  }
  return { processor, cards, probes, chosen }
}

function describeProcessor(): Processor {
  return {
    model: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    memoryFreeBytes: freemem(),
  }
}

/** Tries one provider. Throws only the signal's reason. */
export async function probeProvider(
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
