import type { GraphicsCard } from './graphics-cards.ts'

/** Providers that onnxruntime-node can have, the processor's first. */
const EXECUTION_PROVIDERS = ['cpu', 'cuda', 'webgpu', 'dml', 'coreml'] as const

export type ExecutionProvider = (typeof EXECUTION_PROVIDERS)[number]

/** The owner's choice: one provider, or the best that works. */
export type DeviceWish = 'auto' | ExecutionProvider

export const DEVICE_WISHES: readonly DeviceWish[] = ['auto', ...EXECUTION_PROVIDERS]

export interface Processor {
  model: string
  cores: number
  memoryBytes: number
  memoryFreeBytes: number
}

export interface ProviderProbe {
  provider: ExecutionProvider
  isUsable: boolean
  /** The time of the probe's model, ms, or the reason why it did not run. */
  ms?: number
  why?: string
}

/** The device that models run on. */
export interface Device {
  kind: 'cpu' | 'gpu'
  provider: ExecutionProvider
  name: string
  memoryBytes: number
}

/**
 * The providers worth a trial, the preferred first: those that onnxruntime-node 1.30 has for this
 * system. `auto` tries none where no graphics card was found.
 */
export function providersToTry(
  wish: DeviceWish,
  cards: readonly GraphicsCard[],
  { platform, arch }: { platform: string; arch: string },
): ExecutionProvider[] {
  if (wish !== 'auto') return wish === 'cpu' ? [] : [wish]
  if (cards.length === 0) return []
  switch (platform) {
    case 'linux':
      return arch === 'x64' ? ['cuda', 'webgpu'] : []
    case 'win32':
      return ['webgpu', 'dml']
    case 'darwin':
      return ['webgpu', 'coreml']
    default:
      return []
  }
}

/** The first provider that passed its trial, with its card; else the CPU. */
export function chooseDevice(
  processor: Processor,
  cards: readonly GraphicsCard[],
  probes: readonly ProviderProbe[],
): Device {
  const passed = probes.find(({ provider, isUsable }) => isUsable && provider !== 'cpu')
  if (passed === undefined) {
    return { kind: 'cpu', provider: 'cpu', name: processor.model, memoryBytes: processor.memoryBytes }
  }
  const { provider } = passed
  const card = provider === 'cuda' ? cards.find(({ name }) => /nvidia/i.test(name)) : largest(cards)
  return {
    kind: 'gpu',
    provider,
    name: card?.name ?? `unnamed (${provider})`,
    // A card without memory of its own uses the machine's.
    memoryBytes: card?.memoryBytes ?? processor.memoryBytes,
  }
}

/** Providers take the card that the system calls the strongest; its memory is what we know of that. */
function largest(cards: readonly GraphicsCard[]): GraphicsCard | undefined {
  return [...cards].sort((left, right) => (right.memoryBytes ?? 0) - (left.memoryBytes ?? 0))[0]
}
