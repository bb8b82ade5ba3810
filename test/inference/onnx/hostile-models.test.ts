// Models made to do harm: each is refused with a reason, or contained in its process. Hearth goes on.
import { cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { isHearthError } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import { loadEngine } from '../../../src/inference/engines/load-engine.ts'
import { bytesSource } from '../../../src/inference/onnx/protobuf.ts'
import { readModel } from '../../../src/inference/onnx/onnx-reader.ts'
import { GraphBuilder, writeModel, type OnnxGraph } from '../../../src/inference/onnx/onnx-writer.ts'
import goldens from '../../fixtures/random-llama-goldens.json' with { type: 'json' }
import { temporaryFolder } from '../../../testing/temporary-folder.ts'
import { writeSmallModel } from '../../../testing/small-models.ts'

const FACTS = join(import.meta.dirname, '../../../models/facts')
const SHAPE = goldens[0]?.shape as (typeof goldens)[number]['shape']
let model: Buffer

beforeAll(() => {
  model = readFileSync(writeSmallModel({ shape: SHAPE, seed: 1, attention: 'grouped-query' }))
})

/** A context with the small files of models/facts and this model. */
function contextWith(write: (onnxFolder: string) => void): string {
  const folder = temporaryFolder('hostile')
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json']) {
    cpSync(join(FACTS, name), join(folder, name))
  }
  cpSync(join(FACTS, 'onnx'), join(folder, 'onnx'), { recursive: true })
  write(join(folder, 'onnx'))
  return folder
}

async function startOn(folder: string): Promise<unknown> {
  const bounds = { loadMsMax: 10_000, runMsMax: 3_000, silenceMsMax: 1_000, heartbeatMs: 100 }
  const host = new EngineHost({ clock: systemClock, log: silentLogger }, { folder, ...bounds })
  try {
    await host.start()
    return await host.run({ url: '/v1/completions', body: { prompt: [5, 6], max_tokens: 2 } })
  } catch (error) {
    return error
  } finally {
    await host.stop()
    rmSync(folder, { recursive: true })
  }
}

const replaceModel = (bytes: Uint8Array) => (folder: string) =>
  writeFileSync(join(folder, 'model.onnx'), bytes)

/** The small model with its weights beside it, and the name of their file replaced by one as long. */
const withWeightsAt =
  (location: string, prepare: (folder: string) => void = () => {}) =>
  (folder: string): void => {
    const path = writeSmallModel({ shape: SHAPE, seed: 1, attention: 'grouped-query', externalData: true })
    const text = readFileSync(path).toString('latin1').replaceAll('model.onnx_data', location)
    writeFileSync(join(folder, 'model.onnx'), Buffer.from(text, 'latin1'))
    cpSync(`${path}_data`, join(folder, 'weights'))
    prepare(folder)
    rmSync(dirname(dirname(path)), { recursive: true })
  }

const REFUSED: [string, (folder: string) => void, RegExp][] = [
  ['an empty model', replaceModel(new Uint8Array(0)), /no graph/],
  ['random bytes', (folder) => replaceModel(Buffer.from(noise(4_096)))(folder), /malformed|no graph/],
  ['a cut model', (folder) => replaceModel(model.subarray(0, model.length / 2))(folder), /malformed/],
  ['weights above the folder', withWeightsAt('../../../../../x'.slice(0, 15)), /outside/],
  ['weights at an absolute path', withWeightsAt('/etc/../../hosts'.slice(0, 15)), /outside/],
  ['weights that are missing', withWeightsAt('model.onnx_dat0'), /missing/],
  [
    'weights behind a link',
    withWeightsAt('model.onnx_link', (folder) =>
      symlinkSync(join(folder, 'weights'), join(folder, 'model.onnx_link')),
    ),
    /not a regular file/,
  ],
  [
    'weights that end early',
    withWeightsAt('model.onnx_tiny', (folder) => writeFileSync(join(folder, 'model.onnx_tiny'), 'few')),
    /ends before/,
  ],
]

function noise(length: number): Uint8Array {
  const random = seededRandom(4)
  return Uint8Array.from({ length }, () => randomInteger(random, 256))
}

test.each(REFUSED)('%s: refused before native code sees it', async (_name, write, why) => {
  const folder = contextWith(write)
  const components = { clock: systemClock, random: seededRandom(1), log: silentLogger }
  const error = await loadEngine(folder, { engine: 'auto', threads: 1 }, components).catch((thrown) => thrown)
  rmSync(folder, { recursive: true })
  expect(isHearthError(error)).toBe(true)
  expect(['model-unsupported', 'context-invalid']).toContain((error as { code: string }).code)
  expect((error as Error).message).toMatch(why)
})

/** A decoder by its inputs and outputs, which computes what `build` adds. Its answer has no end. */
function decoderThat(build: (builder: GraphBuilder) => string): OnnxGraph {
  const builder = new GraphBuilder('hostile')
  const dims = ['batch', 2, 'past', 16]
  builder.input('input_ids', 'int64', ['batch', 'sequence'])
  for (const part of ['key', 'value']) {
    builder.input(`past_key_values.0.${part}`, 'float', dims)
    builder.output(`present.0.${part}`, 'float', ['batch', 2, 'total', 16])
    builder.namedNode('Identity', [`past_key_values.0.${part}`], [`present.0.${part}`])
  }
  builder.output('logits', 'float', ['batch', 'sequence', 442])
  builder.namedNode('Identity', [build(builder)], ['logits'])
  return builder.graph
}

function endlessLoop(builder: GraphBuilder): string {
  const body = new GraphBuilder('body', 'body_')
  body.input('iteration', 'int64', [])
  body.input('goes_on', 'bool', [])
  body.input('state', 'float', [])
  body.output(body.node('Identity', ['goes_on']), 'bool', [])
  body.output(body.node('Add', ['state', body.float(1)]), 'float', [])
  const yes = builder.node('Cast', [builder.integers(1)], { attributes: { to: 9 } })
  const turns = builder.integers(Number.MAX_SAFE_INTEGER)
  const attributes = { body: { graph: body.graph } }
  const last = builder.node('Loop', [turns, yes, builder.float(0)], { attributes })
  return builder.node('Expand', [last, builder.integers([1, 1, 442])])
}

const hugeConstant = (builder: GraphBuilder): string => {
  const huge = builder.node('ConstantOfShape', [builder.integers([1 << 20, 1 << 20, 64])])
  return builder.node('ReduceSum', [huge], { attributes: { keepdims: 1 } })
}

test.each([
  ['an endless loop', endlessLoop],
  ['a constant of 2^46 numbers', hugeConstant],
])('%s: contained in its process', async (_name, build) => {
  const folder = contextWith((onnx) => writeModel(decoderThat(build), join(onnx, 'model.onnx')))
  const error = await startOn(folder)
  expect(isHearthError(error)).toBe(true)
  expect(['model-unsupported', 'engine-failed']).toContain((error as { code: string }).code)
})

test('with any bits flipped, the reader answers or refuses, and reads nothing beyond the file', () => {
  const random = seededRandom(8)
  for (let attempt = 0; attempt < 2_000; attempt += 1) {
    const bytes = Uint8Array.from(model.subarray(0, randomInteger(random, model.length)))
    for (let flip = 0; flip < 8; flip += 1) {
      const at = randomInteger(random, Math.min(bytes.length, 3_000) + 1)
      bytes[at] = randomInteger(random, 256)
    }
    try {
      readModel(bytesSource(bytes))
    } catch (error) {
      expect(isHearthError(error, 'model-unsupported')).toBe(true)
    }
  }
})
