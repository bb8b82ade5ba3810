import { expect, test } from 'vitest'
import { systemClock } from '../../../src/base/system-clock.ts'
import {
  chooseDevice,
  providersToTry,
  type ProviderProbe,
} from '../../../src/inference/device/device-choice.ts'
import { detectDevices, probeProvider } from '../../../src/inference/device/device-probe.ts'
import {
  readControllers,
  readNvidia,
  type GraphicsCard,
} from '../../../src/inference/device/graphics-cards.ts'

const MIB = 1024 * 1024
const PROCESSOR = { model: 'Ryzen', cores: 8, memoryBytes: 32_000, memoryFreeBytes: 16_000 }
const ARC: GraphicsCard = { name: 'Intel Arc', memoryBytes: 8_000, memoryFreeBytes: undefined, driver: '1' }
const RTX: GraphicsCard = { name: 'NVIDIA RTX', memoryBytes: 24_000, memoryFreeBytes: 23_000, driver: '2' }
// CoreML is in no build for Linux or Windows, and DirectML in none but those for Windows.
const absent = process.platform === 'darwin' ? 'dml' : 'coreml'

test('the processor computes, and a provider that is not there is told with its reason', async () => {
  const cpu = await probeProvider(systemClock, 'cpu', undefined)
  expect(cpu).toMatchObject({ provider: 'cpu', isUsable: true })
  expect(cpu.ms).toBeGreaterThan(0)
  const other = await probeProvider(systemClock, absent, undefined)
  expect(other).toMatchObject({ provider: absent, isUsable: false, why: expect.stringMatching(/./) })
})

test('the processor is chosen when it is asked for, whatever else there is', async () => {
  const { chosen, processor, probes } = await detectDevices(systemClock, { wish: 'cpu' })
  expect(chosen).toEqual({
    kind: 'cpu',
    provider: 'cpu',
    name: processor.model,
    memoryBytes: processor.memoryBytes,
  })
  expect(probes).toEqual([])
})

test('a device that is asked for and does not work is an error that says why and what to do', async () => {
  await expect(detectDevices(systemClock, { wish: absent })).rejects.toMatchObject({
    code: 'config-invalid',
    message: expect.stringMatching(
      new RegExp(`the device ${absent} does not work here \\(.+\\).*--device cpu`),
    ),
  })
})

test('a detection that is no longer wanted ends', async () => {
  const cancel = new AbortController()
  const detection = detectDevices(systemClock, { signal: cancel.signal })
  cancel.abort(new Error('enough'))
  await expect(detection).rejects.toThrow('enough')
})

test.each([
  ['auto', [RTX], 'linux', 'x64', ['cuda', 'webgpu']],
  ['auto', [RTX], 'linux', 'arm64', []],
  ['auto', [ARC], 'win32', 'x64', ['webgpu', 'dml']],
  ['auto', [ARC], 'darwin', 'arm64', ['webgpu', 'coreml']],
  ['auto', [], 'linux', 'x64', []],
  ['cpu', [RTX], 'linux', 'x64', []],
  ['webgpu', [], 'linux', 'x64', ['webgpu']],
] as const)('wish %s, cards %j, on %s %s: tries %j', (wish, cards, platform, arch, providers) => {
  expect(providersToTry(wish, cards, { platform, arch })).toEqual(providers)
})

test('the first provider that passed decides; CUDA means NVIDIA’s card, others the largest', () => {
  const probe = (provider: ProviderProbe['provider'], isUsable: boolean): ProviderProbe => ({
    provider,
    isUsable,
  })
  const chosen = (...probes: ProviderProbe[]) => chooseDevice(PROCESSOR, [ARC, RTX], probes)
  expect(chosen(probe('cuda', true))).toMatchObject({ kind: 'gpu', provider: 'cuda', name: 'NVIDIA RTX' })
  expect(chosen(probe('cuda', false), probe('webgpu', true))).toEqual({
    kind: 'gpu',
    provider: 'webgpu',
    name: 'NVIDIA RTX',
    memoryBytes: 24_000,
  })
  expect(chosen(probe('cuda', false), probe('webgpu', false))).toMatchObject({ kind: 'cpu', name: 'Ryzen' })
  expect(chooseDevice(PROCESSOR, [], [probe('webgpu', true)])).toMatchObject({
    name: 'unnamed (webgpu)',
    memoryBytes: 32_000,
  })
})

test('nvidia-smi’s lines become cards; one that shares the machine’s memory has none of its own', () => {
  const output =
    'NVIDIA GeForce RTX 4090, 24564, 23000, 560.35.03\n\nNo devices were found\nNVIDIA GB10, [N/A], [N/A], 580\n'
  expect(readNvidia(output)).toEqual([
    {
      name: 'NVIDIA GeForce RTX 4090',
      memoryBytes: 24_564 * MIB,
      memoryFreeBytes: 23_000 * MIB,
      driver: '560.35.03',
    },
    { name: 'NVIDIA GB10', memoryBytes: undefined, memoryFreeBytes: undefined, driver: '580' },
  ])
})

test('controllers that can compute become cards', () => {
  const controllers = [
    { vendor: 'Advanced Micro Devices, Inc. [AMD/ATI]', model: 'Navi 31', vram: 24_576, vramDynamic: false },
    { vendor: 'Intel Corporation', model: 'Iris Xe', vram: 1_024, vramDynamic: true, driverVersion: '31.0' },
    { vendor: 'Apple', model: 'Apple M3', vram: null, vramDynamic: true },
    { vendor: 'ASPEED Technology, Inc.', model: 'ASPEED Graphics Family', vram: 16, vramDynamic: false },
    { vendor: 'Microsoft', model: 'Basic Display Adapter', vram: null },
    { vendor: '', model: '', vram: 0 },
    {},
  ]
  expect(readControllers(controllers)).toEqual([
    { name: 'Navi 31', memoryBytes: 24_576 * MIB, memoryFreeBytes: undefined, driver: undefined },
    { name: 'Iris Xe', memoryBytes: undefined, memoryFreeBytes: undefined, driver: '31.0' },
    { name: 'Apple M3', memoryBytes: undefined, memoryFreeBytes: undefined, driver: undefined },
  ])
})
