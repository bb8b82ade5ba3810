import { describe, expect, it } from 'vitest'
import {
  findEntry,
  selectFiles,
  type Selection,
  type SelectionOptions,
} from '../../../src/context-sharing/import/file-selection.ts'

const select = (folder: string[], options: SelectionOptions = {}, weights?: string[]): Selection =>
  selectFiles(folder, findEntry(folder, options), options, weights)
const paths = (selection: Selection): string[] => selection.files.map(({ path }) => path)

describe('which files of a folder belong to its context', () => {
  it('takes weights, tokenizer and config, and leaves notes, pictures, scripts and hidden files out', () => {
    const selection = select([
      'onnx/model.onnx',
      'onnx/model.onnx_data',
      'config.json',
      'generation_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'special_tokens_map.json',
      'vocab.json',
      'merges.txt',
      'chat_template.jinja',
      'README.md',
      'LICENSE',
      'train.py',
      'picture.png',
      '.gitattributes',
      '.git/config',
      '.cache/huggingface/x.json',
      'pytorch_model.bin',
      'checkpoint-5/config.json',
      'evaluation.json',
    ])
    expect(paths(selection)).toEqual([
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'merges.txt',
      'onnx/model.onnx',
      'onnx/model.onnx_data',
      'special_tokens_map.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'vocab.json',
    ])
    expect(selection.leftOut).toHaveLength(10)
    expect(selection.runtime).toEqual({
      engine: 'onnxruntime',
      format: 'onnx',
      entry: 'onnx/model.onnx',
      dtype: 'fp32',
    })
    expect(Object.fromEntries(selection.files.map((file) => [file.path, file.class]))).toMatchObject({
      'onnx/model.onnx_data': 'weights',
      'tokenizer.json': 'tokenizer',
      'merges.txt': 'tokenizer',
      'config.json': 'config',
    })
  })

  it('takes one dtype of several', () => {
    const folder = [
      'onnx/model.onnx',
      'onnx/model.onnx_data',
      'onnx/model_q4.onnx',
      'onnx/model_q4.onnx_data',
      'onnx/embed_tokens_q4.onnx',
      'onnx/model_fp16.onnx',
    ]
    expect(paths(select(folder))).toEqual(['onnx/model.onnx', 'onnx/model.onnx_data'])
    const q4 = select(folder, { runtime: { entry: 'onnx/model_q4.onnx' } })
    expect(paths(q4)).toEqual(['onnx/model_q4.onnx', 'onnx/model_q4.onnx_data'])
    expect(q4.runtime.dtype).toBe('q4')
  })

  it.each([
    ['q4', 'onnx/model_q4.onnx'],
    ['q8', 'onnx/model_quantized.onnx'],
    ['fp16', 'onnx/model_fp16.onnx'],
    ['fp32', 'onnx/model.onnx'],
    [undefined, 'onnx/model.onnx'],
  ])('takes the model of the dtype that is asked for: %s', (dtype, entry) => {
    const folder = ['q4', 'quantized', 'fp16'].map((suffix) => `onnx/model_${suffix}.onnx`)
    const extra = ['onnx/embed_tokens_q4.onnx', 'onnx/model.onnx', 'model_q4.onnx', 'config.json']
    const selection = select([...folder, ...extra], { dtype })
    expect(selection.runtime).toMatchObject({ entry, dtype: dtype ?? 'fp32' })
  })

  it.each([
    ['model', ['model', 'model_O1', 'model_O4', 'model_qint8_avx512', 'model_quint8_avx2'], 'fp32'],
    ['model_O2', ['model_O4', 'model_O3', 'model_O2', 'model_qint8_arm64'], 'o2'],
    ['model_fp16', ['model_q4', 'model_fp16', 'model_bnb4'], 'fp16'],
    ['model_quantized', ['model_qint8_avx512', 'model_quantized', 'model_uint8'], 'q8'],
    ['model_qint8_arm64', ['model_quint8_avx2', 'model_qint8_avx512', 'model_qint8_arm64'], 'qint8_arm64'],
    ['decoder_model', ['decoder_model'], 'fp32'],
  ])('chooses %s of %j, and says what else there is', (chosen, names, dtype) => {
    for (const folder of ['onnx/', '']) {
      const selection = select([...names.map((name) => `${folder}${name}.onnx`), 'config.json'])
      expect(selection.runtime).toMatchObject({ entry: `${folder}${chosen}.onnx`, dtype })
      expect(paths(selection)).toEqual(['config.json', `${folder}${chosen}.onnx`].sort())
      expect(selection.variants).toHaveLength(names.length)
      expect(selection.variants[0]).toBe(dtype)
    }
  })

  it('takes the external data that the graph names, and nothing else', () => {
    const folder = ['onnx/model.onnx', 'onnx/cos_cache', 'onnx/w/0.bin', 'onnx/w/1', 'onnx/model.onnx_data']
    const named = ['onnx/cos_cache', 'onnx/w/0.bin', 'onnx/w/1']
    const selection = select(folder, {}, named)
    expect(paths(selection)).toEqual(['onnx/cos_cache', 'onnx/model.onnx', 'onnx/w/0.bin', 'onnx/w/1'])
    expect(new Set(selection.files.map((file) => file.class))).toEqual(new Set(['weights']))
    expect(() => select(folder, {}, ['onnx/w/2'])).toThrow(
      '"onnx/w/2", with weights of onnx/model.onnx, is missing',
    )
  })

  it('takes what may be external data where the graph cannot be read', () => {
    const folder = [
      'onnx/model.onnx',
      'onnx/weights.pb',
      'onnx/lm_head.weight',
      'onnx/onnx__MatMul_12',
      'onnx/model_q4.onnx',
      'onnx/model_q4.onnx_data',
      'onnx/model_fp16.onnx_data',
      'onnx/README.md',
      'onnx/picture.png',
      'onnx/config.json',
    ]
    const taken = ['config.json', 'lm_head.weight', 'model.onnx', 'onnx__MatMul_12', 'weights.pb']
    expect(paths(select(folder))).toEqual(taken.map((name) => `onnx/${name}`))
    const root = ['model.onnx', 'model.onnx.data', 'pytorch_model.bin', 'tf_model.h5', 'LICENSE', 'notes']
    expect(paths(select(root))).toEqual(['model.onnx', 'model.onnx.data'])
  })

  it('takes weights of modules as safetensors, and no pickle', () => {
    const folder = ['onnx/model.onnx', '2_Dense/config.json', '2_Dense/model.safetensors']
    const more = ['2_Dense/pytorch_model.bin', 'model.safetensors']
    expect(paths(select([...folder, ...more]))).toEqual(folder.toSorted())
  })

  it('takes a GGUF by its dtype', () => {
    const folder = ['tiny.Q4_K_M.gguf', 'tiny.Q8_0.gguf']
    expect(select(folder, { dtype: 'q8_0' }).runtime.entry).toBe('tiny.Q8_0.gguf')
  })

  it.each([
    [['onnx/model.onnx', 'onnx/model_fp16.onnx'], 'q4', 'it has no model of dtype q4; it has fp16, fp32'],
    [
      ['onnx/a_q4.onnx', 'onnx/b_q4.onnx'],
      'q4',
      'several models of dtype q4 (onnx/a_q4.onnx, onnx/b_q4.onnx',
    ],
    [['a.onnx', 'b.onnx'], undefined, 'several models (a.onnx, b.onnx…): leave one of them'],
    [['x/model.onnx', 'y/model.onnx'], undefined, 'several models (x/model.onnx, y/model.onnx…)'],
  ])('of %j with dtype %s is refused', (folder, dtype, message) => {
    expect(() => select(folder, { dtype })).toThrow(message)
  })

  it('takes all shards of safetensors, with their index', () => {
    const selection = select([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
      'consolidated.safetensors',
      'config.json',
    ])
    expect(paths(selection)).toEqual([
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ])
    expect(selection.runtime).toMatchObject({ entry: 'model.safetensors.index.json', format: 'safetensors' })
  })

  it('takes one GGUF of several, with its parts', () => {
    expect(select(['tiny.Q4_K_M.gguf']).runtime).toMatchObject({ format: 'gguf', dtype: 'q4_k_m' })
    const selection = select(['big-Q8_0-00001-of-00002.gguf', 'big-Q8_0-00002-of-00002.gguf'])
    expect(selection.files).toHaveLength(2)
    expect(selection.runtime).toMatchObject({ entry: 'big-Q8_0-00001-of-00002.gguf', dtype: 'q8_0' })
  })

  it('takes whatever is named as the entry', () => {
    const runtime = { entry: 'fake.json', engine: 'fake', format: 'fake', dtype: 'none' }
    const selection = select(['fake.json', 'config.json', 'notes.md'], { runtime })
    expect(paths(selection)).toEqual(['config.json', 'fake.json'])
    expect(selection.runtime.engine).toBe('fake')
  })

  it.each([
    [['config.json'], {}, 'no model found in'],
    [[], {}, 'no model found in'],
    [['a.gguf', 'b.gguf'], {}, 'several models (a.gguf, b.gguf…): choose one'],
    [['model.onnx'], { entry: 'other.onnx' }, 'no file "other.onnx"'],
  ])('of %j is refused', (folder, runtime, message) => {
    expect(() => select(folder, { runtime })).toThrow(message)
  })
})
