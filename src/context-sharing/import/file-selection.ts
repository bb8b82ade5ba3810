import { HearthError } from '../../base/errors.ts'
import { comparePaths } from '../content/manifest-path.ts'
import type { FileClass, RuntimeInfo } from '../content/manifest.ts'

/*
 * Which files of a model folder belong to its context. The list says what belongs, not what does not,
 * so that a note, a picture or a training script beside the model does not make another context of it:
 *
 * - weights: files of the entry's format in the entry's folder. Of ONNX exports in several dtypes only
 *   the entry's (model_q4.onnx takes *_q4.onnx with their external data). Of a GGUF its own parts.
 * - tokenizer and config files by name, in the top folder, the entry's folder, and the numbered
 *   folders of sentence-transformers (1_Pooling).
 * - never: names that start with a dot, pickles (they can run code), scripts, documents, pictures.
 */

export interface SelectedFile {
  path: string
  class: FileClass
}

export interface Selection {
  runtime: RuntimeInfo
  /** Ordered by path. */
  files: SelectedFile[]
  leftOut: string[]
}

interface Format {
  format: string
  engine: string
  /** Whether `path` could be what the engine opens. */
  isEntry: (path: string) => boolean
  /** Tried in this order before "the only one there is". */
  preferred: string[]
}

const FORMATS: Format[] = [
  {
    format: 'onnx',
    engine: 'onnxruntime',
    isEntry: (path) => path.endsWith('.onnx'),
    preferred: ['onnx/model.onnx', 'model.onnx'],
  },
  {
    format: 'safetensors',
    engine: 'transformers',
    isEntry: (path) => path.endsWith('.safetensors') || path.endsWith('.safetensors.index.json'),
    preferred: ['model.safetensors.index.json', 'model.safetensors'],
  },
  {
    format: 'gguf',
    engine: 'llama.cpp',
    isEntry: (path) => path.endsWith('.gguf') && !/-000(?!01)\d\d-of-\d+\.gguf$/.test(path),
    preferred: [],
  },
]

const TOKENIZER_NAME =
  /^(.*tokenizer.*\.json|.*vocab.*\.(json|txt)|merges\.txt|added_tokens\.json|special_tokens_map\.json|chat_template\.(json|jinja)|.*\.jinja|.*\.(model|spm|tiktoken))$/i
const CONFIG_NAME = /^(.*config.*\.json|modules\.json|.*\.index\.json)$/i
const PICKLE_NAME = /^(pytorch_model|training_args|optimizer|scheduler|rng_state|adapter_model).*\.bin$/i
const EXTERNAL_DATA_NAME = /(\.onnx_data(_\d+)?|\.onnx\.data|\.data|\.bin|\.weights?)$/i
const ONNX_NAME = /^(.*?)(?:_(fp16|q8|int8|uint8|quantized|q4|q4f16|bnb4))?\.onnx$/

/**
 * Splits `paths` into what belongs to the context and what does not. Of several models, the one of
 * `wantedDtype` ('q4', 'fp16' …) is the entry. Throws `context-invalid`.
 * @param given parts of the runtime info that are not inferred
 * @param folder the folder's name in messages
 */
export function selectFiles(
  paths: readonly string[],
  given: Partial<RuntimeInfo> = {},
  wantedDtype?: string,
  folder = 'this folder',
): Selection {
  // Sorted, so that the choice does not depend on the order of the listing.
  const visible = paths.filter((path) => !isHidden(path)).sort(comparePaths)
  const entry = given.entry ?? findEntry(visible, wantedDtype, folder)
  if (!visible.includes(entry)) throw invalid(`it has no file "${entry}", which was named as its entry`)
  const format = FORMATS.find(({ isEntry }) => isEntry(entry))
  const files = visible
    .flatMap((path) => classify(path, entry, format))
    .sort((left, right) => comparePaths(left.path, right.path))
  const kept = new Set(files.map(({ path }) => path))
  return {
    runtime: {
      engine: given.engine ?? format?.engine ?? 'unknown',
      format: given.format ?? format?.format ?? 'unknown',
      entry,
      dtype: given.dtype ?? dtypeOf(entry),
    },
    files,
    leftOut: paths.filter((path) => !kept.has(path)).sort(comparePaths),
  }
}

function isHidden(path: string): boolean {
  return path.split('/').some((name) => name.startsWith('.'))
}

/** Picks the model of the requested dtype, else the preferred model, else the only one. */
function findEntry(paths: readonly string[], dtype: string | undefined, folder: string): string {
  for (const { isEntry, preferred } of FORMATS) {
    const candidates = paths.filter(isEntry)
    if (candidates.length === 0) continue
    if (dtype !== undefined) return entryOfDtype(candidates, dtype)
    const entry = preferred.find((path) => paths.includes(path)) ?? onlyOne(candidates)
    if (entry !== undefined) return entry
    throw invalid(
      `it has several models (${candidates.slice(0, 4).join(', ')}…): choose one with --dtype ${dtypesOf(candidates).join(' or ')}`,
    )
  }
  throw new HearthError(
    'context-invalid',
    `no model found in ${folder}; Hearth needs ONNX (onnx/model.onnx), safetensors or GGUF`,
  )
}

function entryOfDtype(candidates: readonly string[], dtype: string): string {
  const found = candidates.filter((path) => dtypeOf(path) === dtype)
  const models = found.filter((path) => /^model[_.]/.test(nameOf(path)))
  const entry = models.find((path) => folderOf(path) === 'onnx') ?? models[0] ?? onlyOne(found)
  if (entry !== undefined) return entry
  throw invalid(
    found.length === 0
      ? `it has no model of dtype ${dtype}; it has ${dtypesOf(candidates).join(', ')}: choose one with --dtype`
      : `it has several models of dtype ${dtype} (${found.slice(0, 4).join(', ')}…): leave one of them in the folder`,
  )
}

function onlyOne(candidates: readonly string[]): string | undefined {
  return candidates.length === 1 ? candidates[0] : undefined
}

function dtypesOf(candidates: readonly string[]): string[] {
  return [...new Set(candidates.map(dtypeOf))].sort()
}

function classify(path: string, entry: string, format: Format | undefined): SelectedFile[] {
  const name = nameOf(path)
  if (path === entry && format === undefined) return [{ path, class: 'other' }]
  if (isWeights(path, entry, format)) return [{ path, class: 'weights' }]
  if (!isBeside(path, entry)) return []
  if (path === entry) return [{ path, class: 'config' }]
  if (TOKENIZER_NAME.test(name)) return [{ path, class: 'tokenizer' }]
  if (CONFIG_NAME.test(name)) return [{ path, class: 'config' }]
  return []
}

function isWeights(path: string, entry: string, format: Format | undefined): boolean {
  if (folderOf(path) !== folderOf(entry)) return false
  const name = nameOf(path)
  switch (format?.format) {
    case 'onnx':
      return isOnnxOf(name, nameOf(entry))
    case 'safetensors':
      return name.endsWith('.safetensors') && stemOf(name) === stemOf(nameOf(entry))
    case 'gguf':
      return name.endsWith('.gguf') && splitStem(name) === splitStem(nameOf(entry))
    default:
      return false
  }
}

/** The graphs of the entry's dtype, and external data that does not carry another dtype's name. */
function isOnnxOf(name: string, entryName: string): boolean {
  const dtype = ONNX_NAME.exec(entryName)?.[2]
  const graph = ONNX_NAME.exec(name)
  if (graph !== null) return graph[2] === dtype
  if (PICKLE_NAME.test(name) || !EXTERNAL_DATA_NAME.test(name)) return false
  const owner = /^(.*\.onnx)[_.]/.exec(name)?.[1] ?? `${name.replace(/\.[^.]*$/, '')}.onnx`
  return ONNX_NAME.exec(owner)?.[2] === dtype
}

/** "model" of model.safetensors, model-00001-of-00002.safetensors and model.safetensors.index.json. */
function stemOf(name: string): string {
  return name.replace(/\.index\.json$/, '').replace(/(-\d+-of-\d+)?\.safetensors$/, '')
}

function splitStem(name: string): string {
  return name.replace(/(-\d+-of-\d+)?\.gguf$/, '')
}

function isBeside(path: string, entry: string): boolean {
  const folder = folderOf(path)
  return folder === '' || folder === folderOf(entry) || /^\d+_[^/]+$/.test(folder)
}

function dtypeOf(entry: string): string {
  const name = nameOf(entry)
  const onnx = ONNX_NAME.exec(name)
  if (onnx !== null) return onnx[2] === 'quantized' ? 'q8' : (onnx[2] ?? 'fp32')
  return (
    /[-.]((?:i?q\d[\w]*)|f16|bf16|f32)(?:-\d+-of-\d+)?\.gguf$/i.exec(name)?.[1]?.toLowerCase() ?? 'unknown'
  )
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function folderOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
}

function invalid(what: string): HearthError {
  return new HearthError('context-invalid', `not a context that Hearth can use: ${what}`)
}
