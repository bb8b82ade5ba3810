// Checks where a model says that its weights are, before native code reads them.
import { lstat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { HearthError } from '../../base/errors.ts'
import type { OnnxModel, TensorPlace } from './onnx-reader.ts'

/**
 * Every file of weights must be a plain file in the model's own folder that holds what is said to be
 * in it. Throws `context-invalid`.
 */
export async function checkWeightFiles({ initializers }: OnnxModel, folder: string): Promise<void> {
  const sizes = new Map<string, number>()
  for (const { name, place } of initializers) {
    if (place?.location === undefined) continue
    const size = sizes.get(place.location) ?? (await sizeOf(folder, place.location))
    sizes.set(place.location, size)
    if (!isWithin(place, size)) throw invalid(`${place.location} ends before the data of ${name}`)
  }
}

function isWithin({ offset, length }: TensorPlace, size: number): boolean {
  // A model need not tell the length.
  const end = offset + (Number.isNaN(length) ? 0 : length)
  return Number.isSafeInteger(end) && end >= offset && end <= size
}

async function sizeOf(folder: string, location: string): Promise<number> {
  if (location !== basename(location) || location === '..' || location.includes('\\')) {
    throw invalid(`weights in ${JSON.stringify(location)}, outside the model's folder`)
  }
  const found = await lstat(join(folder, location)).catch(() => undefined)
  if (found === undefined) throw invalid(`the weights file ${location} is missing`)
  if (!found.isFile()) throw invalid(`the weights file ${location} is not a regular file`)
  return found.size
}

function invalid(why: string): HearthError {
  return new HearthError('context-invalid', why)
}
