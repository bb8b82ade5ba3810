// What `hearth context add` takes is what an engine can open; everything else is refused with the reason.
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import type { ModelOpener } from '../../../src/context-sharing/import/model-opener.ts'
import { loadEngine } from '../../../src/inference/engines/load-engine.ts'
import { checkOrtContext } from '../../../src/inference/engines/ort-engine.ts'
import { GraphBuilder, writeModel } from '../../../src/inference/onnx/onnx-writer.ts'
import { modelTrial } from '../../../src/node/contexts/model-trial.ts'
import { encodeSafetensors, writeSmallEncoder } from '../../../testing/small-encoder.ts'
import { writeSmallModel } from '../../../testing/small-models.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const FACTS = join(import.meta.dirname, '../../../models/facts')
const SHAPE = {
  layers: 1,
  hidden: 32,
  intermediate: 48,
  heads: 2,
  keyValueHeads: 1,
  headSize: 16,
  vocabulary: 512,
  positionsMax: 64,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}

const components = { clock: systemClock, log: silentLogger }
/** Opens models here, without onnxruntime's session: a process for each case would take seconds. */
let store: ContextStore
/** Opens models as `hearth context add` does. */
let trying: ContextStore
let master: string

async function openStore(models: ModelOpener): Promise<ContextStore> {
  const folder = join(temporaryFolder('trial'), 'store')
  const opened = new ContextStore({ ...components, models }, { folder, keepFree: { bytes: 0 } })
  await opened.open()
  return opened
}

beforeAll(async () => {
  const trial = modelTrial(components)
  store = await openStore({ ...trial, open: checkOrtContext })
  trying = await openStore(trial)
  const path = writeSmallModel({ shape: SHAPE, seed: 3, attention: 'grouped-query', shards: 2 })
  rmSync(join(dirname(path), 'shape.json'))
  master = dirname(dirname(path))
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
    cpSync(join(FACTS, name), join(master, name))
})
afterAll(async () => {
  await store.close()
  await trying.close()
})

/** A copy of a model in onnx/ whose weights are in model.onnx_data and model.onnx_data_1. */
function folderWith(change: (folder: string) => void): string {
  const folder = join(temporaryFolder('trial'), 'model')
  cpSync(master, folder, { recursive: true })
  change(folder)
  return folder
}

const write =
  (name: string, content: string) =>
  (folder: string): void =>
    writeFileSync(join(folder, name), content)

/** Renames the first file of weights, in the graph too: a name of 15 characters, as it had. */
const renameWeights =
  (name: string) =>
  (folder: string): void => {
    const graph = join(folder, 'onnx/model.onnx')
    const text = readFileSync(graph).toString('latin1')
    const named = text.replace(/model\.onnx_data(?!_)/g, name)
    writeFileSync(graph, Buffer.from(named, 'latin1'))
    const target = join(folder, 'onnx', name)
    mkdirSync(dirname(target), { recursive: true })
    renameSync(join(folder, 'onnx/model.onnx_data'), target)
  }

function toTop(folder: string): void {
  cpSync(join(folder, 'onnx'), folder, { recursive: true })
  rmSync(join(folder, 'onnx'), { recursive: true })
}

describe('a folder that an engine can open is added, and answers', () => {
  test.each<[string, (folder: string) => void, string[]]>([
    [
      'model.onnx at the top, as optimum writes it',
      toTop,
      ['model.onnx', 'model.onnx_data', 'model.onnx_data_1'],
    ],
    [
      'weights in a folder, of any name',
      renameWeights('parts/cos_cache'),
      ['onnx/model.onnx', 'onnx/model.onnx_data_1', 'onnx/parts/cos_cache'],
    ],
    [
      'numbers that only Python writes, and another name of the graph',
      (folder) => {
        const config = readFileSync(join(folder, 'config.json'), 'utf8')
        const limits =
          '"time_step_limit":[0.0,Infinity],"note":"NaN \\" Infinity","max_position_embeddings":-Infinity'
        const more = config.replace(
          /"max_position_embeddings":\s*\d+/,
          limits.replace('-Infinity', 'Infinity'),
        )
        writeFileSync(join(folder, 'config.json'), more.replace(/^\{/, '{"x":[NaN,-Infinity],'))
        renameSync(join(folder, 'onnx/model.onnx'), join(folder, 'onnx/decoder_model.onnx'))
      },
      ['onnx/decoder_model.onnx', 'onnx/model.onnx_data', 'onnx/model.onnx_data_1'],
    ],
  ])('%s', async (_name, change, weights) => {
    const { contextId, entry } = await store.import(folderWith(change))
    const paths = store.held(contextId)?.manifest.files.map(({ path }) => path) ?? []
    expect(paths.filter((path) => !path.endsWith('json'))).toEqual(weights)
    expect(weights).toContain(entry)
    const engine = await loadEngine(
      store.folder(contextId),
      { engine: 'auto', threads: 1 },
      { clock: systemClock, random: seededRandom(1), log: silentLogger },
    )
    const answer = await engine.run({ url: '/v1/completions', body: { prompt: [5, 6], max_tokens: 2 } })
    await engine.close()
    expect(answer).toMatchObject({ ok: true, usage: { completionTokens: 2 } })
  })
})

test('of several exports one is added, and the result says which, and which others there are', async () => {
  const { contextId, ...result } = await store.import(
    folderWith((folder) => {
      for (const variant of ['O1', 'O4', 'quantized'])
        cpSync(join(folder, 'onnx/model.onnx'), join(folder, `onnx/model_${variant}.onnx`))
    }),
  )
  expect(result).toMatchObject({
    entry: 'onnx/model.onnx',
    dtype: 'fp32',
    variants: ['fp32', 'o1', 'o4', 'q8'],
    leftOut: ['onnx/model_O1.onnx', 'onnx/model_O4.onnx', 'onnx/model_quantized.onnx'],
  })
  expect(store.held(contextId)?.manifest.files.filter(({ path }) => path.endsWith('.onnx'))).toHaveLength(1)
})

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 4194304\n`

/** A valid graph with an operator that onnxruntime has no kernel for. */
function withoutKernel(folder: string): void {
  const builder = new GraphBuilder('odd')
  builder.input('input_ids', 'int64', ['batch', 'sequence'])
  builder.output('sentence_embedding', 'float', ['batch', 'sequence'])
  const cast = builder.node('Cast', ['input_ids'], { attributes: { to: 1 } })
  builder.namedNode('Nonsense', [cast], ['sentence_embedding'])
  writeModel(builder.graph, join(folder, 'onnx/model.onnx'))
}

describe('a folder that no engine could open is refused, with the reason and what to do', () => {
  test.each<[string, (folder: string) => void, RegExp]>([
    [
      'a graph that is a Git LFS pointer',
      write('onnx/model.onnx', POINTER),
      /"onnx\/model\.onnx" is a Git LFS pointer.*git lfs pull/,
    ],
    [
      'weights that are one',
      write('onnx/model.onnx_data_1', POINTER),
      /"onnx\/model\.onnx_data_1" is a Git LFS pointer/,
    ],
    ['a tokenizer that is one', write('tokenizer.json', POINTER), /"tokenizer\.json" is a Git LFS pointer/],
    [
      'an error page in place of the graph',
      write('onnx/model.onnx', '\n<!DOCTYPE html>\n<html><title>404</title>'),
      /"onnx\/model\.onnx" is a web page, perhaps the error page/,
    ],
    [
      'an error of the hub in place of the graph',
      write('onnx/model.onnx', '{"error":"Repository not found"}'),
      /is the error message of a hub \("\{.*Repository not found/,
    ],
    [
      'an error of the hub in place of the tokenizer',
      write('tokenizer.json', '{"error":"Access to model x is restricted.","status":403}'),
      /"tokenizer\.json" is the error message of a hub/,
    ],
    [
      'text in place of the graph',
      write('onnx/model.onnx', 'Entry not found'),
      /is text \("Entry not found"\), not a model/,
    ],
    ['an empty file of weights', write('onnx/model.onnx_data', ''), /"onnx\/model\.onnx_data" is empty/],
    [
      'weights that are not there',
      (folder) => rmSync(join(folder, 'onnx/model.onnx_data_1')),
      /"onnx\/model\.onnx_data_1", with weights of onnx\/model\.onnx, is missing/,
    ],
    ['weights outside', (folder) => renameWeights('weights/../e.bi')(folder), /outside the model's folder/],
    [
      'safetensors only',
      (folder) => {
        rmSync(join(folder, 'onnx'), { recursive: true })
        writeFileSync(join(folder, 'model.safetensors'), 'x')
      },
      /weights as safetensors only .*optimum-cli export onnx/,
    ],
    [
      'a pickle only',
      (folder) => {
        rmSync(join(folder, 'onnx'), { recursive: true })
        writeFileSync(join(folder, 'pytorch_model.bin'), 'x')
      },
      /no model found .* not pytorch_model\.bin: export it/,
    ],
    ['a graph that is cut', write('onnx/model.onnx', '\u0008\u0008\u003a\u007f'), /malformed/],
    [
      'a chat template that cannot be rendered',
      write('chat_template.jinja', '{{ messages | xmlattr }}'),
      /cannot render the chat template: .*"xmlattr"/,
    ],
    [
      'a setting that is no number',
      write('generation_config.json', '{"temperature":NaN}'),
      /generation_config\.json: temperature/,
    ],
  ])('%s', async (_name, change, why) => {
    const before = store.list().length
    const error: unknown = await store.import(folderWith(change)).catch((thrown: unknown) => thrown)
    expect(['context-invalid', 'model-unsupported']).toContain((error as { code?: string }).code)
    expect((error as Error).message).toMatch(why)
    expect(store.list()).toHaveLength(before)
  })
})

describe('an embedding model', () => {
  const dense = {
    'modules.json': ['Transformer', 'Pooling', 'Dense'].map((type, index) => ({
      path: index === 0 ? '' : `${index}_${type}`,
      type: `sentence_transformers.models.${type}`,
    })),
    '1_Pooling/config.json': { word_embedding_dimension: 48, pooling_mode: 'cls' },
    '2_Dense/config.json': { in_features: 48, out_features: 2, bias: false },
  }

  test('is added with the files of its modules', async () => {
    const data = Array.from({ length: 96 }, (_, index) => index / 96)
    const weights = encodeSafetensors({ 'linear.weight': { shape: [2, 48], data } })
    const { contextId } = await store.import(
      writeSmallEncoder({ ...dense, '2_Dense/model.safetensors': weights, '2_Dense/pytorch_model.bin': 'x' }),
    )
    const paths = store.held(contextId)?.manifest.files.map(({ path }) => path)
    expect(paths).toEqual([
      '1_Pooling/config.json',
      '2_Dense/config.json',
      '2_Dense/model.safetensors',
      'config.json',
      'modules.json',
      'onnx/model.onnx',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
  })

  test.each([
    [
      'weights of a module as a pickle only',
      { ...dense, '2_Dense/pytorch_model.bin': 'x' },
      /2_Dense\/pytorch_model\.bin are not read/,
    ],
    ['no word about the pooling', {}, /nothing says how the vectors of tokens become one/],
  ])('with %s is refused', async (_name, files, why) => {
    await expect(store.import(writeSmallEncoder(files))).rejects.toMatchObject({
      code: 'model-unsupported',
      message: expect.stringMatching(why) as string,
    })
  })
})

describe('in a process of its own', () => {
  test(
    'a model that onnxruntime cannot open is refused, and one that it opens is added',
    { timeout: 60_000 },
    async () => {
      await expect(trying.import(folderWith(withoutKernel))).rejects.toMatchObject({
        code: 'model-unsupported',
        message: expect.stringMatching(/onnxruntime: .*Nonsense/) as string,
      })
      expect(trying.list()).toEqual([])
      const { contextId } = await trying.import(folderWith(() => {}))
      expect(trying.list()).toMatchObject([{ contextId, tier: { kind: 'stored' } }])
    },
  )
})
