// Writes a Llama model of random weights as llama.cpp reads it: GGUF version 3, weights in q8_0 (blocks of
// 32 bytes with one half-precision scale). https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
import { closeSync, openSync, writeSync } from 'node:fs'
import { randomInteger, seededRandom } from '../../src/base/random.ts'
import type { LlamaShape } from '../../src/inference/graph/llama-weights.ts'

const VERSION = 3
const ALIGNMENT = 32

/** gguf_metadata_value_type */
const TYPE = { uint32: 4, int32: 5, float: 6, text: 8, list: 9 } as const

/** ggml_type */
const F32 = 0
const Q8_0 = 8
const BLOCK = 32
const BLOCK_BYTES = 34
/** A half-precision scale of 2⁻¹². */
const SCALE = 0x0c00
const FILE_TYPE_MOSTLY_Q8_0 = 7

/** llama_token_type, and the first tokens of every vocabulary. */
const TOKEN = { normal: 1, unknown: 2, control: 3, byte: 6 } as const
const SPECIAL = ['<unk>', '<s>', '</s>']
const BYTES = 256

interface GgufTensor {
  name: string
  /** The innermost first. */
  dims: number[]
  type: typeof F32 | typeof Q8_0
}

export function writeRandomGguf(path: string, shape: LlamaShape): void {
  const tensors = tensorsOf(shape)
  const metadata = metadataOf(shape)
  const file = openSync(path, 'w')
  try {
    const head = [
      Buffer.from('GGUF'),
      uint32(VERSION),
      uint64(tensors.length),
      uint64(metadata.length),
      ...metadata,
      ...describe(tensors),
    ]
    writeSync(file, padded(Buffer.concat(head)))
    const random = seededRandom(1)
    const noise = Buffer.from(Uint8Array.from({ length: 65_536 }, () => randomInteger(random, 256)))
    for (const tensor of tensors) writeSync(file, padded(elementsOf(tensor, noise)))
  } finally {
    closeSync(file)
  }
}

function tensorsOf({
  layers,
  hidden,
  intermediate,
  heads,
  keyValueHeads,
  headSize,
  vocabulary,
}: LlamaShape): GgufTensor[] {
  const weight = (name: string, inputs: number, outputs: number): GgufTensor => ({
    name: `${name}.weight`,
    dims: [inputs, outputs],
    type: Q8_0,
  })
  const norm = (name: string): GgufTensor => ({ name: `${name}.weight`, dims: [hidden], type: F32 })
  const [queries, keys] = [heads * headSize, keyValueHeads * headSize]
  const layer = (index: number): GgufTensor[] => [
    norm(`blk.${index}.attn_norm`),
    weight(`blk.${index}.attn_q`, hidden, queries),
    weight(`blk.${index}.attn_k`, hidden, keys),
    weight(`blk.${index}.attn_v`, hidden, keys),
    weight(`blk.${index}.attn_output`, queries, hidden),
    norm(`blk.${index}.ffn_norm`),
    weight(`blk.${index}.ffn_gate`, hidden, intermediate),
    weight(`blk.${index}.ffn_up`, hidden, intermediate),
    weight(`blk.${index}.ffn_down`, intermediate, hidden),
  ]
  return [
    weight('token_embd', hidden, vocabulary),
    ...Array.from({ length: layers }, (_, index) => layer(index)).flat(),
    norm('output_norm'),
    weight('output', hidden, vocabulary),
  ]
}

function metadataOf(shape: LlamaShape): Buffer[] {
  const { vocabulary } = shape
  const tokens = Array.from({ length: vocabulary }, (_, token) => tokenOf(token))
  const sizes = {
    context_length: shape.positionsMax,
    embedding_length: shape.hidden,
    block_count: shape.layers,
    feed_forward_length: shape.intermediate,
    'attention.head_count': shape.heads,
    'attention.head_count_kv': shape.keyValueHeads,
    'rope.dimension_count': shape.headSize,
    vocab_size: vocabulary,
  }
  const list = (type: number, items: Buffer): Buffer =>
    Buffer.concat([uint32(type), uint64(vocabulary), items])
  return [
    entry('general.architecture', TYPE.text, text('llama')),
    entry('general.name', TYPE.text, text('random')),
    entry('general.file_type', TYPE.uint32, uint32(FILE_TYPE_MOSTLY_Q8_0)),
    ...Object.entries(sizes).map(([name, size]) => entry(`llama.${name}`, TYPE.uint32, uint32(size))),
    entry('llama.attention.layer_norm_rms_epsilon', TYPE.float, float(shape.normEpsilon)),
    entry('llama.rope.freq_base', TYPE.float, float(shape.ropeTheta)),
    entry('tokenizer.ggml.model', TYPE.text, text('llama')),
    entry(
      'tokenizer.ggml.tokens',
      TYPE.list,
      list(TYPE.text, Buffer.concat(tokens.map((one) => text(one.text)))),
    ),
    entry('tokenizer.ggml.scores', TYPE.list, list(TYPE.float, Buffer.alloc(4 * vocabulary))),
    entry(
      'tokenizer.ggml.token_type',
      TYPE.list,
      list(TYPE.int32, Buffer.concat(tokens.map((one) => uint32(one.type)))),
    ),
    entry('tokenizer.ggml.bos_token_id', TYPE.uint32, uint32(1)),
    entry('tokenizer.ggml.eos_token_id', TYPE.uint32, uint32(2)),
  ]
}

/** A SentencePiece vocabulary has a token for each byte. */
function tokenOf(token: number): { text: string; type: number } {
  const special = SPECIAL[token]
  if (special !== undefined) return { text: special, type: token === 0 ? TOKEN.unknown : TOKEN.control }
  const byte = token - SPECIAL.length
  if (byte >= BYTES) return { text: `t${token}`, type: TOKEN.normal }
  return { text: `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, type: TOKEN.byte }
}

function describe(tensors: readonly GgufTensor[]): Buffer[] {
  let offset = 0
  return tensors.map((tensor) => {
    const { name, dims, type } = tensor
    const at = uint64(offset)
    offset += Math.ceil(bytesOf(tensor) / ALIGNMENT) * ALIGNMENT
    return Buffer.concat([text(name), uint32(dims.length), ...dims.map(uint64), uint32(type), at])
  })
}

function bytesOf({ dims, type }: GgufTensor): number {
  const count = dims.reduce((product, dim) => product * dim, 1)
  return type === F32 ? count * 4 : (count / BLOCK) * BLOCK_BYTES
}

/** Norms are ones. */
function elementsOf(tensor: GgufTensor, noise: Buffer): Buffer {
  const byteLength = bytesOf(tensor)
  if (tensor.type === F32) return Buffer.from(new Float32Array(byteLength / 4).fill(1).buffer)
  const blocks = Buffer.alloc(byteLength, noise)
  for (let block = 0; block < byteLength; block += BLOCK_BYTES) blocks.writeUInt16LE(SCALE, block)
  return blocks
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((ALIGNMENT - (bytes.length % ALIGNMENT)) % ALIGNMENT)])
}

const entry = (key: string, type: number, value: Buffer): Buffer =>
  Buffer.concat([text(key), uint32(type), value])

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function float(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}

const text = (value: string): Buffer => Buffer.concat([uint64(Buffer.byteLength(value)), Buffer.from(value)])
