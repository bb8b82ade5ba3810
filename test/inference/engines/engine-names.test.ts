import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { ENGINE_NAMES, type EngineName } from '../../../src/inference/contract/engine.ts'
import { loadEngine } from '../../../src/inference/engines/load-engine.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import { resolveOptions } from '../../../src/inference/host/engine-host-options.ts'

const components = { clock: systemClock, random: seededRandom(1), log: silentLogger }
const REFUSAL = `engine must be one of ${ENGINE_NAMES.join(', ')}; got "vllm"`
/** What a program in plain JavaScript may pass. */
const UNKNOWN = 'vllm' as EngineName

test('every engine that has a name is taken, and auto is the default', () => {
  for (const engine of ENGINE_NAMES)
    expect(resolveOptions({ folder: '/', engine }).engine.engine).toBe(engine)
  expect(resolveOptions({ folder: '/' }).engine.engine).toBe('auto')
})

test('an engine host refuses an engine of an unknown name', () => {
  expect(() => new EngineHost(components, { folder: '/', engine: UNKNOWN })).toThrow(new RangeError(REFUSAL))
})

test('no engine is loaded for an unknown name, whatever the folder holds', async () => {
  const loading = loadEngine('/nowhere', { engine: UNKNOWN, threads: 1 }, components)
  await expect(loading).rejects.toThrow(new RangeError(REFUSAL))
})
