// Reads small safetensors files (https://github.com/huggingface/safetensors): 8 bytes of header length, a JSON
// header with each tensor's type, shape and place, then the data.
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { HearthError, messageOf } from '../../base/errors.ts'
import { MODULE_WEIGHTS_BYTES_MAX } from '../../base/limits.ts'

export interface FloatTensor {
  shape: number[]
  data: Float32Array
}

const PREFIX_BYTES = 8

const HEADER = z.record(
  z.string(),
  z.looseObject({
    dtype: z.string().optional(),
    shape: z.array(z.int().min(0)).optional(),
    data_offsets: z.tuple([z.int().min(0), z.int().min(0)]).optional(),
  }),
)

/** The tensors of a file by name, as fp32. Throws `context-invalid`. */
export async function readSafetensors(folder: string, name: string): Promise<Map<string, FloatTensor>> {
  const path = join(folder, name)
  const { size } = await stat(path)
  if (size > MODULE_WEIGHTS_BYTES_MAX)
    throw invalid(name, `it has ${size} bytes, over the limit of ${MODULE_WEIGHTS_BYTES_MAX}`)
  const bytes = await readFile(path)
  if (bytes.byteLength < PREFIX_BYTES) throw invalid(name, 'it ends before its header')
  const start = PREFIX_BYTES + Number(bytes.readBigUInt64LE(0))
  if (start > bytes.byteLength) throw invalid(name, 'it ends before its header')
  const tensors = new Map<string, FloatTensor>()
  for (const [key, entry] of Object.entries(headerOf(bytes.subarray(PREFIX_BYTES, start), name))) {
    if (key === '__metadata__') continue
    const { dtype = '', shape = [], data_offsets: [from, to] = [0, 0] } = entry
    const count = shape.reduce((product, dim) => product * dim, 1)
    const read = READERS[dtype]
    if (read === undefined) throw invalid(name, `${key} has elements of type ${dtype}: use F32, F16 or BF16`)
    if (start + to > bytes.byteLength || to - from !== count * read.bytes)
      throw invalid(name, `the place of ${key} does not fit its shape`)
    const at = (index: number): number => read.at(bytes, start + from + index * read.bytes)
    tensors.set(key, { shape, data: Float32Array.from({ length: count }, (_, index) => at(index)) })
  }
  return tensors
}

function headerOf(bytes: Buffer, name: string): z.infer<typeof HEADER> {
  try {
    return HEADER.parse(JSON.parse(bytes.toString('utf8')))
  } catch (cause) {
    throw invalid(name, `its header is malformed: ${messageOf(cause)}`)
  }
}

const READERS: Readonly<Record<string, { bytes: number; at: (bytes: Buffer, offset: number) => number }>> = {
  F64: { bytes: 8, at: (bytes, offset) => bytes.readDoubleLE(offset) },
  F32: { bytes: 4, at: (bytes, offset) => bytes.readFloatLE(offset) },
  F16: { bytes: 2, at: (bytes, offset) => halfFloat(bytes.readUInt16LE(offset)) },
  BF16: { bytes: 2, at: (bytes, offset) => brainFloat(bytes.readUInt16LE(offset)) },
}

function halfFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = (bits & 1023) / 1024
  if (exponent === 0) return sign * 2 ** -14 * fraction
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN
  return sign * 2 ** (exponent - 15) * (1 + fraction)
}

function brainFloat(bits: number): number {
  const view = new DataView(new ArrayBuffer(4))
  view.setUint16(0, bits)
  return view.getFloat32(0)
}

function invalid(name: string, why: string): HearthError {
  return new HearthError('context-invalid', `${name}: ${why}`)
}
