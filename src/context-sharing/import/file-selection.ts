import { HearthError } from '../../base/errors.ts'
import { comparePaths } from '../content/manifest-path.ts'
import type { FileClass, RuntimeInfo } from '../content/manifest.ts'
import { chooseGraph, folderOf, isGraph, looksLikeDataOf, nameOf, variantOf } from './onnx-files.ts'

/*
 * Which files of a model folder belong to its context. The list says what belongs, not what does not,
 * so that a note, a picture or a training script beside the model does not make another context of it:
 *
 * - weights: of ONNX the entry's graph and the external data that it names. Of several exports only one
 *   (onnx-files.ts). Of safetensors and GGUF the entry's own parts.
 * - tokenizer and config files by name, in the top folder, the entry's folder, and the numbered
 *   folders of sentence-transformers (1_Pooling); there also weights as safetensors (2_Dense).
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
  /** The dtypes that the folder has of this model: more than one where one was chosen. */
  variants: string[]
}

export interface SelectionOptions {
  /** Parts of the runtime info that are not inferred. */
  runtime?: Partial<RuntimeInfo> | undefined
  /** The dtype ('q4', 'fp16' …) that selects the entry among several models. */
  dtype?: string | undefined
  /** The folder's name in messages. */
  folder?: string | undefined
}

/** The file that the engine opens, and its format. */
export interface Entry {
  path: string
  format: string
  variants: string[]
}

interface Format {
  format: string
  engine: string
  /** Whether `path` could be what the engine opens. */
  isEntry: (path: string) => boolean
  /** Tried in this order before "the only one there is". */
  preferred?: string[]
}

const FORMATS: Format[] = [
  {
    format: 'onnx',
    engine: 'onnxruntime',
    isEntry: isGraph,
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
  },
]

const TOKENIZER_NAME =
  /^(.*tokenizer.*\.json|.*vocab.*\.(json|txt)|merges\.txt|added_tokens\.json|special_tokens_map\.json|chat_template\.(json|jinja)|.*\.jinja|.*\.(model|spm|tiktoken))$/i
const CONFIG_NAME = /^(.*config.*\.json|modules\.json|.*\.index\.json)$/i
const MODULE_FOLDER = /^\d+_[^/]+$/

/** Picks what the engine opens. Throws `context-invalid`. */
export function findEntry(paths: readonly string[], options: SelectionOptions = {}): Entry {
  const { runtime: given = {}, dtype, folder = 'this folder' } = options
  const visible = visibleOf(paths)
  if (given.entry === undefined) return choose(visible, dtype, folder)
  const { entry } = given
  if (!visible.includes(entry)) throw invalid(`it has no file "${entry}", which was named as its entry`)
  return { path: entry, format: given.format ?? formatOf(entry)?.format ?? 'unknown', variants: [] }
}

/**
 * Splits `paths` into what belongs to the context and what does not. Throws `context-invalid`.
 * @param weights paths of the external data that the entry's graph names; told by names where that is not known
 */
export function selectFiles(
  paths: readonly string[],
  entry: Entry,
  { runtime: given = {} }: SelectionOptions = {},
  weights?: readonly string[],
): Selection {
  const visible = visibleOf(paths)
  const missing = weights?.find((path) => !visible.includes(path))
  if (missing !== undefined) {
    throw invalid(`"${missing}", with weights of ${entry.path}, is missing: download the model again`)
  }
  const format = formatOf(entry.path)
  const graphs = visible.filter(isGraph)
  const isData = (path: string): boolean =>
    weights === undefined ? looksLikeDataOf(path, entry.path, graphs) : weights.includes(path)
  const files = visible
    .flatMap((path) => classify(path, entry.path, format, isData))
    .sort((left, right) => comparePaths(left.path, right.path))
  const kept = new Set(files.map(({ path }) => path))
  return {
    runtime: {
      engine: given.engine ?? format?.engine ?? 'unknown',
      format: given.format ?? format?.format ?? 'unknown',
      entry: entry.path,
      dtype: given.dtype ?? dtypeOf(entry.path),
    },
    files,
    leftOut: paths.filter((path) => !kept.has(path)).sort(comparePaths),
    variants: entry.variants,
  }
}

/** Without hidden files; sorted, so that the choice does not depend on the order of the listing. */
function visibleOf(paths: readonly string[]): string[] {
  return paths.filter((path) => !isHidden(path)).sort(comparePaths)
}

function formatOf(path: string): Format | undefined {
  return FORMATS.find(({ isEntry }) => isEntry(path))
}

function isHidden(path: string): boolean {
  return path.split('/').some((name) => name.startsWith('.'))
}

/** Picks the model of the requested dtype, else the preferred model, else the only one. */
function choose(paths: readonly string[], dtype: string | undefined, folder: string): Entry {
  for (const { format, isEntry, preferred = [] } of FORMATS) {
    const candidates = paths.filter(isEntry)
    if (candidates.length === 0) continue
    if (format === 'onnx') return { format, ...chooseOnnx(candidates, dtype) }
    if (dtype !== undefined) return { path: entryOfDtype(candidates, dtype), format, variants: [dtype] }
    const path = preferred.find((name) => paths.includes(name)) ?? onlyOne(candidates)
    if (path !== undefined) return { path, format, variants: [dtypeOf(path)] }
    throw invalid(
      `it has several models (${candidates.slice(0, 4).join(', ')}…): choose one with --dtype ${dtypesOf(candidates).join(' or ')}`,
    )
  }
  throw new HearthError(
    'context-invalid',
    `no model found in ${folder}; Hearth needs ONNX (onnx/model.onnx or model.onnx)${pickleRemedy(paths)}`,
  )
}

function pickleRemedy(paths: readonly string[]): string {
  const pickle = paths.find((path) => /\.(bin|pt|pth|h5|msgpack)$/i.test(path))
  return pickle === undefined ? '' : `, not ${pickle}: export it with "optimum-cli export onnx"`
}

function chooseOnnx(candidates: readonly string[], dtype: string | undefined): Omit<Entry, 'format'> {
  const choice = chooseGraph(candidates, dtype)
  if ('entry' in choice) return { path: choice.entry, variants: choice.variants }
  if (choice.equals.length === 0) throw noneOfDtype(dtype ?? 'fp32', choice.variants)
  const listed = choice.equals.slice(0, 4).join(', ')
  const which = dtype === undefined ? 'several models' : `several models of dtype ${dtype}`
  throw invalid(`it has ${which} (${listed}…): leave one of them in the folder`)
}

function entryOfDtype(candidates: readonly string[], dtype: string): string {
  const found = candidates.filter((path) => dtypeOf(path) === dtype)
  const entry = onlyOne(found)
  if (entry !== undefined) return entry
  if (found.length === 0) throw noneOfDtype(dtype, dtypesOf(candidates))
  throw invalid(
    `it has several models of dtype ${dtype} (${found.slice(0, 4).join(', ')}…): leave one of them in the folder`,
  )
}

function noneOfDtype(dtype: string, others: readonly string[]): HearthError {
  return invalid(
    `it has no model of dtype ${dtype}; it has ${others.toSorted().join(', ')}: choose one with --dtype`,
  )
}

function onlyOne(candidates: readonly string[]): string | undefined {
  return candidates.length === 1 ? candidates[0] : undefined
}

function dtypesOf(candidates: readonly string[]): string[] {
  return [...new Set(candidates.map(dtypeOf))].sort()
}

function classify(
  path: string,
  entry: string,
  format: Format | undefined,
  isData: (path: string) => boolean,
): SelectedFile[] {
  const name = nameOf(path)
  if (path === entry && format === undefined) return [{ path, class: 'other' }]
  if (format?.format === 'onnx' ? path === entry || isData(path) : isWeights(path, entry, format)) {
    return [{ path, class: 'weights' }]
  }
  if (MODULE_FOLDER.test(folderOf(path)) && name.endsWith('.safetensors')) return [{ path, class: 'weights' }]
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
    case 'safetensors':
      return name.endsWith('.safetensors') && stemOf(name) === stemOf(nameOf(entry))
    case 'gguf':
      return name.endsWith('.gguf') && splitStem(name) === splitStem(nameOf(entry))
    default:
      return false
  }
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
  return folder === '' || folder === folderOf(entry) || MODULE_FOLDER.test(folder)
}

function dtypeOf(entry: string): string {
  if (isGraph(entry)) return variantOf(entry)
  const name = nameOf(entry)
  return (
    /[-.]((?:i?q\d[\w]*)|f16|bf16|f32)(?:-\d+-of-\d+)?\.gguf$/i.exec(name)?.[1]?.toLowerCase() ?? 'unknown'
  )
}

function invalid(what: string): HearthError {
  return new HearthError('context-invalid', `not a context that Hearth can use: ${what}`)
}
