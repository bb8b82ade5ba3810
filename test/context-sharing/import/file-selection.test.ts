import { describe, expect, it } from 'vitest'
import { selectFiles } from '../../../src/context-sharing/import/file-selection.ts'

const paths = (selection: ReturnType<typeof selectFiles>): string[] => selection.files.map(({ path }) => path)

describe('which files of a folder belong to its context', () => {
  it('takes weights, tokenizer and config, and leaves notes, pictures, scripts and hidden files out', () => {
    const selection = selectFiles([
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
    expect(paths(selectFiles(folder))).toEqual(['onnx/model.onnx', 'onnx/model.onnx_data'])
    const q4 = selectFiles(folder, { entry: 'onnx/model_q4.onnx' })
    expect(paths(q4)).toEqual(['onnx/embed_tokens_q4.onnx', 'onnx/model_q4.onnx', 'onnx/model_q4.onnx_data'])
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
    const selection = selectFiles([...folder, ...extra], {}, dtype)
    expect(selection.runtime).toMatchObject({ entry, dtype: dtype ?? 'fp32' })
  })

  it('takes a GGUF by its dtype', () => {
    const folder = ['tiny.Q4_K_M.gguf', 'tiny.Q8_0.gguf']
    expect(selectFiles(folder, {}, 'q8_0').runtime.entry).toBe('tiny.Q8_0.gguf')
  })

  it.each([
    [['onnx/model.onnx', 'onnx/model_fp16.onnx'], 'q4', 'it has no model of dtype q4; it has fp16, fp32'],
    [
      ['onnx/a_q4.onnx', 'onnx/b_q4.onnx'],
      'q4',
      'several models of dtype q4 (onnx/a_q4.onnx, onnx/b_q4.onnx',
    ],
    [['onnx/model_q4.onnx', 'onnx/model_fp16.onnx'], undefined, 'with --dtype fp16 or q4'],
  ])('of %j with dtype %s is refused', (folder, dtype, message) => {
    expect(() => selectFiles(folder, {}, dtype)).toThrow(message)
  })

  it('takes all shards of safetensors, with their index', () => {
    const selection = selectFiles([
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
    expect(selectFiles(['tiny.Q4_K_M.gguf']).runtime).toMatchObject({ format: 'gguf', dtype: 'q4_k_m' })
    const selection = selectFiles(['big-Q8_0-00001-of-00002.gguf', 'big-Q8_0-00002-of-00002.gguf'])
    expect(selection.files).toHaveLength(2)
    expect(selection.runtime).toMatchObject({ entry: 'big-Q8_0-00001-of-00002.gguf', dtype: 'q8_0' })
  })

  it('takes whatever is named as the entry', () => {
    const selection = selectFiles(['fake.json', 'config.json', 'notes.md'], {
      entry: 'fake.json',
      engine: 'fake',
      format: 'fake',
      dtype: 'none',
    })
    expect(paths(selection)).toEqual(['config.json', 'fake.json'])
    expect(selection.runtime.engine).toBe('fake')
  })

  it.each([
    [['config.json'], {}, 'no model found in'],
    [[], {}, 'no model found in'],
    [['a.gguf', 'b.gguf'], {}, 'several models (a.gguf, b.gguf…): choose one'],
    [['model.onnx'], { entry: 'other.onnx' }, 'no file "other.onnx"'],
  ])('of %j is refused', (folder, runtime, message) => {
    expect(() => selectFiles(folder, runtime)).toThrow(message)
  })
})
