// Names of ONNX exports: which of several is the model, and whose external data a file is.
import { comparePaths } from '../content/manifest-path.ts'

/** Forms of one export in the order of preference: exact ones, then small ones. Others follow by name. */
const VARIANTS = [
  'fp32',
  'o1',
  'o2',
  'o3',
  'optimized',
  'fp16',
  'o4',
  'q8',
  'q4',
  'q4f16',
  'int8',
  'uint8',
  'bnb4',
]

/** `model_q4.onnx` of onnx-community, `model_O2.onnx` of optimum, `model_qint8_avx512.onnx` of sentence-transformers. */
const VARIANT_NAME = /^(.+?)_(fp\d+|bf16|q\d\w*|u?int\d\w*|qu?int\d\w*|quantized|bnb\d\w*|o[1-4]|optimized)$/i
const VARIANT_CHARACTERS_MAX = 32

interface Graph {
  path: string
  /** "model" of model_q4.onnx. */
  stem: string
  /** "q4" of model_q4.onnx. */
  variant: string
}

export interface OnnxChoice {
  entry: string
  /** The variants that the folder has of this model, the chosen one included, the preferred first. */
  variants: string[]
}

/** Why there is no choice: the graphs among which it would be. */
export interface NoChoice {
  /** Graphs of equal standing; none when there is no graph of the dtype asked for. */
  equals: string[]
  variants: string[]
}

export function isGraph(path: string): boolean {
  return path.endsWith('.onnx')
}

/** The dtype that an ONNX file's name says: 'fp32' where it says none. */
export function variantOf(path: string): string {
  return graphOf(path).variant
}

/**
 * The model among `graphs`: in onnx/ or the top folder before others, `model` before other names, and of its
 * variants the one asked for, else the first of VARIANTS.
 */
export function chooseGraph(graphs: readonly string[], dtype: string | undefined): OnnxChoice | NoChoice {
  const all = graphs.map(graphOf)
  const usual = all.filter(({ path }) => ['onnx', ''].includes(folderOf(path)))
  const near = usual.length > 0 ? usual : all
  const models = near.filter(({ stem }) => stem === 'model')
  const candidates = models.length > 0 ? models : near
  const variants = [...new Set(candidates.map(({ variant }) => variant))].sort(byPreference)
  const wanted = dtype?.toLowerCase() ?? variants[0]
  const found = candidates.filter(({ variant }) => variant === wanted).map(({ path }) => path)
  const inOnnx = found.filter((path) => folderOf(path) === 'onnx')
  const [entry, ...others] = inOnnx.length > 0 ? inOnnx : found
  const stems = new Set(candidates.map(({ stem }) => stem))
  const isAmbiguous = others.length > 0 || (dtype === undefined && stems.size > 1)
  if (entry === undefined) return { equals: [], variants }
  return isAmbiguous ? { equals: candidates.map(({ path }) => path), variants } : { entry, variants }
}

function graphOf(path: string): Graph {
  const name = nameOf(path).replace(/\.onnx$/, '')
  const parts = VARIANT_NAME.exec(name)
  const suffix = parts?.[2]?.toLowerCase().slice(0, VARIANT_CHARACTERS_MAX)
  return { path, stem: parts?.[1] ?? name, variant: suffix === 'quantized' ? 'q8' : (suffix ?? 'fp32') }
}

function byPreference(left: string, right: string): number {
  const rank = (variant: string): number =>
    (VARIANTS.indexOf(variant) + VARIANTS.length + 1) % (VARIANTS.length + 1)
  return rank(left) - rank(right) || comparePaths(left, right)
}

const PICKLE_NAME = /^(pytorch_model|training_args|optimizer|scheduler|rng_state|adapter_model).*\.bin$/i
const DATA_NAME = /(\.onnx[_.]data(_\d+)?|\.data|\.bin|\.weights?|\.pb)$/i
/** Files beside models that are never their external data. */
const OTHER_NAME =
  /\.(json|md|txt|jinja|model|spm|tiktoken|py|sh|html?|ya?ml|xml|csv|tsv|log|png|jpe?g|gif|svg|pdf|zip|tar|t?gz|h5|msgpack|ot|safetensors|gguf|pte?|pth|ckpt|pkl|mlmodel|tflite)$/i

/**
 * Whether `path` is probably external data of the graph `entry`, told by names alone: for repositories whose
 * graphs cannot be read before the download. It takes what it cannot tell: an import leaves that out again.
 */
export function looksLikeDataOf(path: string, entry: string, graphs: readonly string[]): boolean {
  const [folder, home] = [folderOf(path), folderOf(entry)]
  const name = nameOf(path)
  const isNear = folder === home || (home !== '' && folder.startsWith(`${home}/`))
  if (!isNear || isGraph(path) || PICKLE_NAME.test(name)) return false
  const owner = graphs.find((graph) => folderOf(graph) === folder && isNamedAfter(name, nameOf(graph)))
  if (owner !== undefined) return owner === entry
  if (/\.onnx[_.]/.test(name)) return false
  return DATA_NAME.test(name) || (home !== '' && !OTHER_NAME.test(name))
}

/** model.onnx_data, model.onnx.data and model.data are named after model.onnx. */
function isNamedAfter(name: string, graph: string): boolean {
  return (
    name.startsWith(`${graph}_`) ||
    name.startsWith(`${graph}.`) ||
    (DATA_NAME.test(name) && name.replace(/\.[^.]*$/, '') === graph.replace(/\.onnx$/, ''))
  )
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

export function folderOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
}
