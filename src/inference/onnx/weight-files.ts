// Checks where a model says that its weights are, before native code reads them.
import { lstat } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { HearthError } from '../../base/errors.ts'
import type { OnnxModel, TensorPlace } from './onnx-reader.ts'

/** Folders between the graph and its weights. */
const DEPTH_MAX = 8

/**
 * Every file of weights must be a plain file in the model's own folder, or in folders of it, that holds what is
 * said to be in it. Throws `context-invalid`.
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

/** The files that hold the model's weights, as paths from the model's folder. Throws `context-invalid`. */
export function weightFilesOf({ initializers }: OnnxModel): string[] {
  const paths = initializers.flatMap(({ place }) =>
    place?.location === undefined ? [] : [pathOf(place.location)],
  )
  return [...new Set(paths)].sort()
}

function isWithin({ offset, length }: TensorPlace, size: number): boolean {
  // A model need not tell the length.
  const end = offset + (Number.isNaN(length) ? 0 : length)
  return Number.isSafeInteger(end) && end >= offset && end <= size
}

async function sizeOf(folder: string, location: string): Promise<number> {
  const names = pathOf(location).split('/')
  // A folder that is a link would lead to files outside.
  for (let depth = 1; depth < names.length; depth += 1) {
    const parent = await lstat(join(folder, ...names.slice(0, depth))).catch(() => undefined)
    if (parent !== undefined && !parent.isDirectory()) throw invalid(`${location} is not in a regular folder`)
  }
  const found = await lstat(join(folder, ...names)).catch(() => undefined)
  if (found === undefined) throw invalid(`the weights file ${location} is missing`)
  if (!found.isFile()) throw invalid(`the weights file ${location} is not a regular file`)
  return found.size
}

/** The location as a path without detours that stays in the folder. */
function pathOf(location: string): string {
  const path = posix.normalize(location)
  const names = path.split('/')
  const isOutside = location.split('/').includes('..') || names.some((name) => ['', '.'].includes(name))
  if (isOutside || names.length > DEPTH_MAX || /[\\\0]/.test(location))
    throw invalid(`weights in ${JSON.stringify(location)}, outside the model's folder`)
  return path
}

function invalid(why: string): HearthError {
  return new HearthError('context-invalid', why)
}
