import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/system-clock.ts'
import { parseCards, probeDevices } from '../../src/inference/device-probe.ts'

test('the processor computes, and a provider that is not there is told with its reason', async () => {
  // CoreML is in no build for Linux or Windows, and DirectML in none but those for Windows.
  const absent = process.platform === 'darwin' ? 'dml' : 'coreml'
  const devices = await probeDevices(systemClock, { providers: ['cpu', absent] })
  expect(devices.processor.cores).toBeGreaterThan(0)
  const [cpu, other] = devices.providers
  expect(cpu).toMatchObject({ provider: 'cpu', isUsable: true })
  expect(cpu?.ms).toBeGreaterThan(0)
  expect(other).toMatchObject({ provider: absent, isUsable: false, why: expect.any(String) })
  expect(other?.why).not.toBe('')
})

test('a probe that is no longer wanted ends', async () => {
  const cancel = new AbortController()
  const probe = probeDevices(systemClock, { signal: cancel.signal })
  cancel.abort(new Error('enough'))
  await expect(probe).rejects.toThrow('enough')
})

test('nvidia-smi’s lines become cards', () => {
  const output =
    'NVIDIA GeForce RTX 4090, 24564, 23000, 560.35.03\n\nNo devices were found\nNVIDIA GB10, [N/A], [N/A], 1\n'
  expect(parseCards(output)).toEqual([
    {
      name: 'NVIDIA GeForce RTX 4090',
      memoryBytes: 24_564 * 1024 * 1024,
      memoryFreeBytes: 23_000 * 1024 * 1024,
      driver: '560.35.03',
    },
  ])
})
