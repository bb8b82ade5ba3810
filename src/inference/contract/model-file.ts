// Finds the model's graph in a context's folder, and estimates the memory that it needs.
import { readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { HearthError } from '../../base/errors.ts'

/** Preferred among several graphs of one folder; a context has one. */
const DTYPES = ['fp32', 'fp16', 'q8', 'q4', 'q4f16', 'int8', 'uint8', 'bnb4']

export interface ModelFile {
  path: string
  dtype: string
}

/**
 * The model's graph: the only .onnx file, wherever it is. Of several, that of `dtype`, or the first of
 * DTYPES, onnx/ before other folders. Throws `context-invalid`.
 */
export async function findModelFile(folder: string, dtype: string | undefined): Promise<ModelFile> {
  const paths = (await filesOf(folder)).filter((path) => path.endsWith('.onnx'))
  const graphs = paths.map((path) => ({
    path: join(folder, path),
    dtype: dtypeOf(path),
    isUsual: isUsual(path),
  }))
  const rank = ({ dtype: other, isUsual }: { dtype: string; isUsual: boolean }): number =>
    (isUsual ? 0 : DTYPES.length + 1) + (DTYPES.includes(other) ? DTYPES.indexOf(other) : DTYPES.length)
  const [found] = graphs
    .filter((graph) => dtype === undefined || graph.dtype === dtype)
    .sort((left, right) => rank(left) - rank(right))
  if (found !== undefined) return { path: found.path, dtype: found.dtype }
  const what = dtype === undefined ? 'no ONNX model (.onnx)' : `no ONNX model of dtype ${dtype}`
  throw new HearthError('context-invalid', `${what} in the folder`, { data: { folder } })
}

/** 'fp32' of model.onnx, 'q8' of model_quantized.onnx, 'o2' of model_O2.onnx. */
function dtypeOf(path: string): string {
  const suffix = /^model_(.+)\.onnx$/.exec(basename(path))?.[1]?.toLowerCase()
  return suffix === 'quantized' ? 'q8' : (suffix ?? 'fp32')
}

function isUsual(path: string): boolean {
  return /^onnx[\\/][^\\/]+$/.test(path)
}

/** Paths of files, seen from `folder`. A context's folder is small: its import is bounded. */
async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true }).catch(() => [])
  return entries.toSorted((left, right) => (left < right ? -1 : 1))
}

/** Memory of a process without a model, bytes; and a model's memory beside its weights, as a share of them. */
const PROCESS_BYTES = 80 * 1024 * 1024
const OVERHEAD_SHARE = 1.3

/** Files beside the weights. */
const SMALL_FILE = /\.(json|txt|jinja|model)$/

/** Estimated memory of a process with this context, bytes, before the first load. */
export async function estimateMemoryBytes(folder: string): Promise<number> {
  const paths = (await filesOf(folder)).filter((path) => !SMALL_FILE.test(path))
  const sizes = await Promise.all(
    paths.map((path) =>
      stat(join(folder, path)).then(
        (stats) => (stats.isFile() ? stats.size : 0),
        () => 0,
      ),
    ),
  )
  return PROCESS_BYTES + Math.ceil(OVERHEAD_SHARE * sizes.reduce((sum, size) => sum + size, 0))
}
