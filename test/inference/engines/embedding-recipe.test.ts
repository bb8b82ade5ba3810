// What the files of sentence-transformers say about a text's vector is computed, or the model is refused by name.
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MODULE_WEIGHTS_BYTES_MAX } from '../../../src/base/limits.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { embed } from '../../../src/inference/batching/embedding-head.ts'
import type { EngineResult } from '../../../src/inference/contract/engine.ts'
import { readEmbeddingRecipe } from '../../../src/inference/contract/embedding-recipe.ts'
import { loadOrtEngine } from '../../../src/inference/engines/ort-engine.ts'
import { GraphBuilder, writeModel } from '../../../src/inference/onnx/onnx-writer.ts'
import { encodeSafetensors, writeModules, type ModuleFiles } from '../../../testing/small-encoder.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const module = (type: string, path: string): object => ({ idx: 0, name: '0', path, type })

/** modules.json as versions 1 to 4 write it. */
const modules = (...types: string[]): object[] =>
  types.map((type, index) =>
    module(`sentence_transformers.models.${type}`, index === 0 ? '' : `${index}_${type}`),
  )

function folderWith(files: ModuleFiles): string {
  const folder = temporaryFolder('recipe')
  writeModules(folder, files)
  return folder
}

const read = (
  files: ModuleFiles,
  config = {},
  hasTextOutput = false,
): ReturnType<typeof readEmbeddingRecipe> => readEmbeddingRecipe(folderWith(files), config, hasTextOutput)

const pooled = (config: object, ...more: string[]): ModuleFiles => ({
  'modules.json': modules('Transformer', 'Pooling', ...more),
  '1_Pooling/config.json': config,
})

const OLD = {
  word_embedding_dimension: 3,
  pooling_mode_cls_token: false,
  pooling_mode_mean_tokens: false,
  pooling_mode_max_tokens: false,
  pooling_mode_mean_sqrt_len_tokens: false,
}

describe('the pooling', () => {
  test.each<[object, string[]]>([
    [{ ...OLD, pooling_mode_mean_tokens: true }, ['mean']],
    [{ ...OLD, pooling_mode_cls_token: true }, ['cls']],
    [{ ...OLD, pooling_mode_max_tokens: true }, ['max']],
    [{ ...OLD, pooling_mode_mean_sqrt_len_tokens: true }, ['mean_sqrt_len_tokens']],
    [{ ...OLD, pooling_mode_weightedmean_tokens: true }, ['weightedmean']],
    [{ ...OLD, pooling_mode_lasttoken: true, include_prompt: true }, ['lasttoken']],
    // Several flags: in the order of the code, not of the file.
    [
      {
        pooling_mode_lasttoken: true,
        pooling_mode_mean_tokens: true,
        pooling_mode_max_tokens: true,
        pooling_mode_cls_token: true,
      },
      ['cls', 'max', 'mean', 'lasttoken'],
    ],
    // No flag: the constructor's default.
    [{ word_embedding_dimension: 3 }, ['mean']],
    [{ embedding_dimension: 3, pooling_mode: 'weightedmean', include_prompt: true }, ['weightedmean']],
    [{ embedding_dimension: 3, pooling_mode: ['mean', 'cls'] }, ['mean', 'cls']],
    [{ embedding_dimension: 3, pooling_mode: 'lasttoken', pooling_mode_cls_token: true }, ['lasttoken']],
  ])('of %j is %j', async (config, modes) => {
    expect((await read(pooled(config))).pooling).toEqual(modes)
  })

  test('is found by the newest names of modules, and by the oldest', async () => {
    const newest = [
      module('sentence_transformers.base.modules.transformer.Transformer', ''),
      module('sentence_transformers.sentence_transformer.modules.pooling.Pooling', '1_Pooling'),
      module('sentence_transformers.base.modules.normalize.Normalize', '2_Normalize'),
    ]
    const config = { '1_Pooling/config.json': { embedding_dimension: 3, pooling_mode: 'cls' } }
    const steps = [{ kind: 'normalize' }]
    expect(await read({ 'modules.json': newest, ...config })).toMatchObject({
      pooling: ['cls'],
      steps,
      size: 3,
    })
    const oldest = [
      module('sentence_transformers.models.BERT', '0_BERT'),
      module('sentence_transformers.models.Pooling', '1_Pooling'),
    ]
    const settings = { '0_BERT/sentence_bert_config.json': { max_seq_length: 7, do_lower_case: true } }
    expect(
      await read({
        'modules.json': oldest,
        '1_Pooling/config.json': { ...OLD, pooling_mode_cls_token: true },
        ...settings,
      }),
    ).toMatchObject({ pooling: ['cls'], steps: [], tokensMax: 7, lowercases: true })
  })

  // Four tokens of two elements, in powers of two: every value below is exact.
  const STATES = Float32Array.of(1, -2, 4, 8, -16, 32, 3, -6)
  const LENGTH = Math.sqrt(4)
  test.each([
    ['cls', 0, [1, -2]],
    ['lasttoken', 0, [3, -6]],
    ['max', 0, [4, 32]],
    ['mean', 0, [(1 + 4 - 16 + 3) / 4, (-2 + 8 + 32 - 6) / 4]],
    ['mean_sqrt_len_tokens', 0, [(1 + 4 - 16 + 3) / LENGTH, (-2 + 8 + 32 - 6) / LENGTH]],
    ['weightedmean', 0, [(1 + 2 * 4 + 3 * -16 + 4 * 3) / 10, (-2 + 2 * 8 + 3 * 32 + 4 * -6) / 10]],
    // Without a prompt of two tokens; weights count from the text's first token all the same.
    ['mean', 2, [(-16 + 3) / 2, (32 - 6) / 2]],
    ['max', 2, [3, 32]],
    ['mean_sqrt_len_tokens', 2, [(-16 + 3) / Math.SQRT2, (32 - 6) / Math.SQRT2]],
    ['weightedmean', 2, [(3 * -16 + 4 * 3) / 7, (3 * 32 + 4 * -6) / 7]],
    ['lasttoken', 2, [3, -6]],
  ] as const)('by %s without %i tokens is %j', (mode, promptTokens, expected) => {
    const vector = embed(STATES, 2, { pooling: [mode], steps: [] }, promptTokens)
    expect([...vector]).toEqual(expected.map(Math.fround))
  })

  test('by several modes is one after the other', () => {
    const recipe = { pooling: ['max' as const, 'cls' as const], steps: [] }
    expect([...embed(STATES, 2, recipe)]).toEqual([4, 32, 1, -2])
  })
})

describe('modules behind the pooling', () => {
  const dense = (config: object, tensors: Parameters<typeof encodeSafetensors>[0]): ModuleFiles => ({
    ...pooled({ embedding_dimension: 2, pooling_mode: 'mean' }, 'Dense', 'Normalize'),
    '2_Dense/config.json': config,
    '2_Dense/model.safetensors': encodeSafetensors(tensors),
  })
  const linear = { 'linear.weight': { shape: [2, 2], data: [0.5, 0, 1, -1] } }
  const bias = { 'linear.bias': { shape: [2], data: [0.25, 2] } }
  const sizes = { in_features: 2, out_features: 2 }
  const activation = (name: string): object => ({ activation_function: `torch.nn.modules.${name}` })

  // The mean is (2, 4): the product is (1, -2), and with the bias (1.25, 0).
  test.each<[string, object, object, number[]]>([
    ['without a bias', { ...sizes, bias: false, ...activation('linear.Identity') }, linear, [1, -2]],
    ['with a bias', { ...sizes, ...activation('linear.Identity') }, { ...linear, ...bias }, [1.25, 0]],
    ['with Tanh, the default', { ...sizes, bias: false }, linear, [Math.tanh(1), Math.tanh(-2)]],
    ['with ReLU', { ...sizes, bias: false, ...activation('activation.ReLU') }, linear, [1, 0]],
    [
      'with Sigmoid',
      { ...sizes, bias: false, ...activation('activation.Sigmoid') },
      linear,
      [1 / (1 + Math.exp(-1)), 1 / (1 + Math.exp(2))],
    ],
    [
      'with its input added',
      { ...sizes, bias: false, use_residual: true, ...activation('linear.Identity') },
      linear,
      [1 + 2, -2 + 4],
    ],
    [
      'to another size, with a matrix for the input added',
      { in_features: 2, out_features: 1, bias: false, use_residual: true, ...activation('linear.Identity') },
      {
        'linear.weight': { shape: [1, 2], data: [1, 1] },
        'residual.weight': { shape: [1, 2], data: [0, 8] },
      },
      [2 + 4 + 8 * 4],
    ],
  ])('Dense %s', async (_name, config, tensors, expected) => {
    const recipe = await read(dense(config, tensors as Parameters<typeof encodeSafetensors>[0]))
    expect(recipe.size).toBe(expected.length)
    const [step] = recipe.steps
    const vector = embed(Float32Array.of(1, 2, 3, 6), 2, { pooling: ['mean'], steps: [step!] })
    for (const [index, element] of expected.entries()) expect(vector[index]).toBeCloseTo(element, 6)
    // Normalize follows, and its vector has length 1.
    const scaled = embed(Float32Array.of(1, 2, 3, 6), 2, recipe)
    const length = Math.hypot(...expected)
    for (const [index, element] of expected.entries()) expect(scaled[index]).toBeCloseTo(element / length, 6)
  })

  test('Dense takes fp16 and bf16 weights', async () => {
    for (const [dtype, bits] of [
      ['F16', [0x3c00, 0xc100]],
      ['BF16', [0x3f80, 0xc020]],
    ] as const) {
      const header = { 'linear.weight': { dtype, shape: [1, 2], data_offsets: [0, 4] } }
      const json = Buffer.from(JSON.stringify(header))
      const prefix = Buffer.alloc(8)
      prefix.writeBigUInt64LE(BigInt(json.byteLength))
      const weights = Buffer.concat([prefix, json, Buffer.from(Uint16Array.from(bits).buffer)])
      const config = { in_features: 2, out_features: 1, bias: false, ...activation('linear.Identity') }
      const { steps } = await read({ ...dense(config, linear), '2_Dense/model.safetensors': weights })
      expect(steps[0]).toMatchObject({ weight: Float32Array.of(1, -2.5) })
    }
  })

  const REFUSED: [string, ModuleFiles, RegExp][] = [
    [
      'another module',
      pooled({ pooling_mode: 'cls' }, 'LayerNorm'),
      /sentence_transformers\.models\.LayerNorm/,
    ],
    ['another pooling', pooled({ pooling_mode: 'attention' }), /pooling by attention/],
    ['a flag of another pooling', pooled({ ...OLD, pooling_mode_attention: true }), /pooling by attention/],
    ['no pooling mode', pooled(OLD), /pooling by no mode/],
    [
      'cls without the prompt',
      pooled({ pooling_mode: 'cls', include_prompt: false }),
      /cls without the prompt/,
    ],
    [
      'no file of the pooling',
      { 'modules.json': modules('Transformer', 'Pooling') },
      /1_Pooling\/config\.json is missing/,
    ],
    ['no pooling', { 'modules.json': modules('Transformer') }, /nothing says how .* copy modules\.json/],
    ['no files at all', {}, /nothing says how the vectors of tokens become one/],
    ['another beginning', { 'modules.json': modules('BoW', 'Pooling') }, /models\.BoW/],
    [
      'a folder outside',
      { 'modules.json': [...modules('Transformer'), module('x.Pooling', '../1_Pooling')] },
      /"\.\.\/1_Pooling"/,
    ],
    [
      'weights as a pickle only',
      {
        ...pooled({ pooling_mode: 'mean' }, 'Dense'),
        '2_Dense/config.json': sizes,
        '2_Dense/pytorch_model.bin': 'x',
      },
      /2_Dense\/model\.safetensors is missing: weights in 2_Dense\/pytorch_model\.bin are not read/,
    ],
    [
      'another activation',
      dense({ ...sizes, bias: false, ...activation('activation.GELU') }, linear),
      /activation\.GELU \(2_Dense\)/,
    ],
    [
      'Dense on tokens',
      dense({ ...sizes, bias: false, module_input_name: 'token_embeddings' }, linear),
      /Dense of 2_Dense on token_embeddings/,
    ],
    [
      'Dense of another size',
      dense(
        { in_features: 4, out_features: 2, bias: false },
        { 'linear.weight': { shape: [2, 4], data: [1, 2, 3, 4, 5, 6, 7, 8] } },
      ),
      /takes 4 elements, and gets 2/,
    ],
    [
      'weights of another shape',
      dense({ ...sizes, bias: false }, { 'linear.weight': { shape: [4], data: [1, 2, 3, 4] } }),
      /no linear\.weight of \[2, 2\]/,
    ],
    ['no bias', dense(sizes, linear), /no linear\.bias/],
    [
      'weights that are cut',
      { ...dense(sizes, linear), '2_Dense/model.safetensors': encodeSafetensors(linear).subarray(0, -4) },
      /place of linear\.weight/,
    ],
    [
      'weights that are none',
      { ...dense(sizes, linear), '2_Dense/model.safetensors': 'version' },
      /ends before its header/,
    ],
    [
      'a default prompt that is not there',
      {
        ...pooled({ pooling_mode: 'cls' }),
        'config_sentence_transformers.json': { prompts: {}, default_prompt_name: 'query' },
      },
      /no prompt "query"/,
    ],
  ]
  test.each(REFUSED)('%s: refused by name', async (_name, files, why) => {
    const error: unknown = await read(files).catch((thrown: unknown) => thrown)
    expect(['model-unsupported', 'context-invalid']).toContain((error as { code?: string }).code)
    expect((error as Error).message).toMatch(why)
  })

  test('weights of a module are bounded', async () => {
    const folder = folderWith(dense({ ...sizes, bias: false }, linear))
    truncateSync(join(folder, '2_Dense/model.safetensors'), MODULE_WEIGHTS_BYTES_MAX + 1)
    await expect(readEmbeddingRecipe(folder, {}, false)).rejects.toThrow(/over the limit of 67108864/)
  })
})

/** Each token's vector is (id, 1), so that every expected number follows from the ids. */
function encoderOf(files: ModuleFiles, config = {}, hasTextOutput = false): string {
  const folder = folderWith(files)
  const builder = new GraphBuilder('ids')
  builder.input('input_ids', 'int64', ['batch', 'sequence'])
  builder.input('attention_mask', 'int64', ['batch', 'sequence'])
  builder.output('token_embeddings', 'float', ['batch', 'sequence', 2])
  const column = (name: string): string =>
    builder.node('Unsqueeze', [
      builder.node('Cast', [name], { attributes: { to: 1 } }),
      builder.integers([2]),
    ])
  builder.namedNode('Concat', [column('input_ids'), column('attention_mask')], ['token_embeddings'], {
    attributes: { axis: 2 },
  })
  if (hasTextOutput) {
    builder.output('sentence_embedding', 'float', ['batch', 2])
    builder.namedNode('ReduceMax', ['token_embeddings'], ['sentence_embedding'], {
      attributes: { axes: [1], keepdims: 0 },
    })
  }
  mkdirSync(join(folder, 'onnx'))
  writeModel(builder.graph, join(folder, 'onnx/model.onnx'))
  const vocabulary = ['[PAD]', '[CLS]', '[SEP]', 'query', ':', 'a', 'b', 'c', 'A']
  const vocab = Object.fromEntries(vocabulary.map((token, id) => [token, id]))
  const special = (content: string): object => ({ id: vocab[content], content, special: true })
  const tokenizer = {
    added_tokens: ['[CLS]', '[SEP]'].map(special),
    pre_tokenizer: { type: 'Whitespace' },
    model: { type: 'WordLevel', vocab, unk_token: '[PAD]' },
    post_processor: { type: 'BertProcessing', cls: ['[CLS]', 1], sep: ['[SEP]', 2] },
  }
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer))
  const plain = { model_type: 'bert', max_position_embeddings: 16, vocab_size: 9, hidden_size: 2 }
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...plain, ...config }))
  return folder
}

async function answers(folder: string, bodies: object[]): Promise<(number[][] | string)[]> {
  const components = { clock: systemClock, random: seededRandom(1), log: silentLogger }
  const engine = await loadOrtEngine(folder, { engine: 'auto', threads: 1 }, components)
  const results = await Promise.all(bodies.map((body) => engine.run({ url: '/v1/embeddings', body })))
  await engine.close()
  return results.map(vectorsOf)
}

function vectorsOf(result: EngineResult): number[][] | string {
  if (!result.ok) return result.error.message
  return (result.body['data'] as { embedding: number[] }[]).map(({ embedding }) => embedding)
}

const mean = (...ids: number[]): number => Math.fround(ids.reduce((sum, id) => sum + id, 0) / ids.length)

describe('an engine on such a model', () => {
  test('concatenates, and cuts no vector of a model that does not say that it may', async () => {
    const folder = encoderOf(pooled({ embedding_dimension: 2, pooling_mode: ['mean', 'max', 'lasttoken'] }))
    const inputs = ['a b', 'c']
    const [all, same, cut] = await answers(folder, [
      { input: inputs },
      { input: inputs, dimensions: 6 },
      { input: inputs, dimensions: 2 },
    ])
    const expected = [
      [mean(1, 5, 6, 2), 1, 6, 1, 2, 1],
      [mean(1, 7, 2), 1, 7, 1, 2, 1],
    ]
    expect(all).toEqual(expected)
    expect(same).toEqual(expected)
    expect(cut).toContain(
      'dimensions is not supported by this model: its config.json has no matryoshka_dimensions',
    )
  })

  test('puts the default prompt before texts, or the one asked for', async () => {
    const prompts = { prompts: { query: 'query: ', none: '' }, default_prompt_name: 'query' }
    const folder = encoderOf({
      ...pooled({ embedding_dimension: 2, pooling_mode: 'mean' }),
      'config_sentence_transformers.json': prompts,
    })
    const [byDefault, other, unknown, tokens] = await answers(folder, [
      { input: 'a' },
      { input: ['a'], prompt_name: 'none' },
      { input: 'a', prompt_name: 'passage' },
      { input: [5, 6] },
    ])
    expect(byDefault).toEqual([[mean(1, 3, 4, 5, 2), 1]])
    expect(other).toEqual([[mean(1, 5, 2), 1]])
    expect(unknown).toContain('no prompt "passage"; it has query, none')
    expect(tokens).toContain('"input" must be text, not tokens')
  })

  test('leaves the tokens of the prompt out of the pooling where the model says so', async () => {
    const folder = encoderOf({
      ...pooled({ embedding_dimension: 2, pooling_mode: 'mean', include_prompt: false }),
      'config_sentence_transformers.json': { prompts: { query: 'query: ' }, default_prompt_name: 'query' },
    })
    // [CLS] query : a [SEP] without the prompt's three: its own [SEP] does not count.
    expect(await answers(folder, [{ input: 'a' }])).toEqual([[[mean(5, 2), 1]]])
  })

  test('cuts vectors by Matryoshka, and scales them again', async () => {
    const folder = encoderOf(
      pooled({ embedding_dimension: 2, pooling_mode: ['cls', 'lasttoken'] }, 'Normalize'),
      {
        matryoshka_dimensions: [1, 2],
      },
    )
    const [two, three] = await answers(folder, [
      { input: 'a', dimensions: 2 },
      { input: 'a', dimensions: 3 },
    ])
    // [CLS] has id 1: (1, 1) of length 1 is (√½, √½).
    for (const element of (two as number[][])[0]!) expect(element).toBeCloseTo(Math.SQRT1_2, 6)
    expect(two![0]).toHaveLength(2)
    expect(three).toContain('dimensions must be one of 1, 2')
  })

  test('lower-cases, and refuses texts over max_seq_length', async () => {
    const folder = encoderOf({
      ...pooled({ embedding_dimension: 2, pooling_mode: 'max' }),
      'sentence_bert_config.json': { max_seq_length: 4, do_lower_case: true },
    })
    const [lower, long] = await answers(folder, [{ input: 'A' }, { input: 'a b c' }])
    expect(lower).toEqual([[5, 1]])
    expect(long).toContain('5 tokens, and this model takes at most 4')
  })

  test("takes the graph's own output of whole texts where no file says more, the same alone and together", async () => {
    const folder = encoderOf({}, {}, true)
    const [both, alone] = await answers(folder, [{ input: ['a b c', 'a'] }, { input: 'a' }])
    expect(both).toEqual([
      [7, 1],
      [5, 1],
    ])
    expect(alone).toEqual([[5, 1]])
  })

  test('is refused when nothing says how to pool', async () => {
    await expect(answers(encoderOf({}), [])).rejects.toThrow(
      'nothing says how the vectors of tokens become one',
    )
  })
})
