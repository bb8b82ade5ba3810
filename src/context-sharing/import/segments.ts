import type { FileHandle } from 'node:fs/promises'
import { readAt } from '../disk/disk.ts'

/** safetensors: 8 bytes of little-endian header length, the header (JSON), then the tensors' data. */
const SAFETENSORS_PREFIX_BYTES = 8
/** The format's own limit of a header. */
const SAFETENSORS_HEADER_BYTES_MAX = 100_000_000

/**
 * Lengths of the segments of a file: where its data starts, its chunk grid starts anew. ONNX external
 * data begins at its first byte, so that it is one segment, as is every file of unknown shape.
 */
export async function segmentsOf(path: string, file: FileHandle, size: number): Promise<number[]> {
  if (size === 0) return []
  if (!path.endsWith('.safetensors')) return [size]
  const dataStart = await safetensorsDataStart(file)
  return dataStart !== undefined && dataStart < size ? [dataStart, size - dataStart] : [size]
}

async function safetensorsDataStart(file: FileHandle): Promise<number | undefined> {
  const prefix = await readAt(file, 0, SAFETENSORS_PREFIX_BYTES + 1)
  if (prefix.byteLength <= SAFETENSORS_PREFIX_BYTES || prefix[SAFETENSORS_PREFIX_BYTES] !== 0x7b)
    return undefined
  const headerBytes = Number(Buffer.from(prefix).readBigUInt64LE(0))
  return headerBytes <= SAFETENSORS_HEADER_BYTES_MAX ? SAFETENSORS_PREFIX_BYTES + headerBytes : undefined
}
