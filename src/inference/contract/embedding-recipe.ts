// How a text's vector is made of its tokens' vectors: what the files of sentence-transformers say, in the forms
// of its versions 0.2 to 5. What is not understood is refused by name: leaving it out would give wrong vectors.
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { readJson } from './json-file.ts'
import type { ModelConfig } from './model-folder.ts'
import { readSafetensors, type FloatTensor } from './safetensors.ts'

/** Each makes one vector of all; several are concatenated. */
const MODES = ['cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken'] as const
export type PoolingMode = (typeof MODES)[number]

const ACTIVATIONS = ['Identity', 'Tanh', 'ReLU', 'Sigmoid', 'SiLU'] as const
export type Activation = (typeof ACTIVATIONS)[number]

export interface DenseStep {
  kind: 'dense'
  inSize: number
  outSize: number
  /** [outSize, inSize] */
  weight: Float32Array
  bias: Float32Array | undefined
  activation: Activation
  /** The addend of the result: the input, or its product with this matrix. */
  residual: 'none' | 'input' | Float32Array
}

export type Step = DenseStep | { kind: 'normalize' }

export interface EmbeddingRecipe {
  /** `graph`: the model's graph has an output of whole texts, and no file says more. */
  pooling: 'graph' | PoolingMode[]
  /** Whether a prompt's tokens count in the pooling. */
  includesPrompt: boolean
  steps: Step[]
  /** Elements of a vector; undefined when no file says. */
  size: number | undefined
  /** Texts to put before an input, by name; the default one applies to every input. */
  prompts: Readonly<Record<string, string>>
  defaultPrompt: string | undefined
  lowercases: boolean
  tokensMax: number | undefined
  /** The lengths to which vectors may be cut: a list, any, or none. */
  shorter: readonly number[] | 'any' | 'none'
}

interface Module {
  type: string
  path?: string | null | undefined
}

const MODULES: z.ZodType<Module[]> = z.array(z.looseObject({ type: z.string(), path: z.string().nullish() }))
const ANY: z.ZodType<Record<string, unknown>> = z.record(z.string(), z.unknown())

const COUNT = z.int().min(1)

const PROMPTS = z.looseObject({
  prompts: z.record(z.string(), z.string()).nullish(),
  default_prompt_name: z.string().nullish(),
})

const TRANSFORMER = z.looseObject({
  max_seq_length: COUNT.nullish(),
  do_lower_case: z.boolean().nullish(),
})

const DENSE = z.looseObject({
  in_features: COUNT,
  out_features: COUNT,
  bias: z.boolean().default(true),
  activation_function: z.string().default('torch.nn.modules.activation.Tanh'),
  module_input_name: z.string().nullish(),
  module_output_name: z.string().nullish(),
  use_residual: z.boolean().nullish(),
})

/** Version 0.2 had a class for each architecture. */
const TRANSFORMERS = new Set(
  'Transformer BERT RoBERTa DistilBERT ALBERT XLMRoBERTa CamemBERT XLNet T5 MPNet'.split(' '),
)

/**
 * @param hasTextOutput whether the graph has an output of whole texts
 * Throws `model-unsupported`, naming the unsupported part, or `context-invalid`.
 */
export async function readEmbeddingRecipe(
  folder: string,
  config: Pick<ModelConfig, 'hidden_size' | 'is_matryoshka' | 'matryoshka_dimensions'>,
  hasTextOutput: boolean,
): Promise<EmbeddingRecipe> {
  const modules = await readJson(folder, 'modules.json', MODULES, [])
  const settings = { ...(await readPrompts(folder)), shorter: shorterOf(config) }
  if (modules.length === 0) {
    if (!hasTextOutput) throw unknownPooling()
    const steps = { pooling: 'graph', includesPrompt: true, steps: [], size: undefined } as const
    return { ...steps, steps: [], ...settings, ...(await readTransformer(folder, '')) }
  }
  const [first, second, ...others] = modules
  if (first === undefined || !TRANSFORMERS.has(nameOf(first))) throw unsupported(moduleName(first))
  if (second === undefined) throw unknownPooling()
  if (nameOf(second) !== 'Pooling') throw unsupported(moduleName(second))
  const pooling = await readPooling(folder, second)
  const width = pooling.width ?? config.hidden_size
  const { steps, size } = await readSteps(
    folder,
    others,
    width === undefined ? undefined : width * pooling.modes.length,
  )
  const { modes, includesPrompt } = pooling
  const transformer = await readTransformer(folder, pathOf(first))
  return { pooling: modes, includesPrompt, steps, size, ...settings, ...transformer }
}

function nameOf({ type }: Module): string {
  return type.slice(type.lastIndexOf('.') + 1)
}

function moduleName(module: Module | undefined): string {
  return `the module ${module?.type ?? 'before the pooling'}`
}

/** The module's folder; '' for the top one. */
function pathOf({ path }: Module): string {
  const plain = (path ?? '').replace(/\/$/, '')
  if (plain !== '' && (!/^[\w.-]+$/.test(plain) || plain.startsWith('.')))
    throw unsupported(`the folder "${plain}"`)
  return plain
}

function within(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`
}

interface PoolingFile {
  modes: PoolingMode[]
  includesPrompt: boolean
  width: number | undefined
}

async function readPooling(folder: string, module: Module): Promise<PoolingFile> {
  const config = await readJson(folder, within(pathOf(module), 'config.json'), ANY)
  const modes = modesOf(config)
  const includesPrompt = config['include_prompt'] !== false
  // Its versions disagree whether the first token is the prompt's.
  if (!includesPrompt && modes.includes('cls')) throw unsupported('pooling by cls without the prompt')
  const width = config['embedding_dimension'] ?? config['word_embedding_dimension']
  return { modes, includesPrompt, width: typeof width === 'number' ? width : undefined }
}

/** The older form has a flag for each mode, and its modes have the order of MODES; the newer one names them. */
function modesOf(config: Record<string, unknown>): PoolingMode[] {
  const { pooling_mode: named } = config
  if (named !== undefined && named !== null) {
    const names: unknown[] = Array.isArray(named) ? named : [named]
    if (names.length === 0) throw unsupported('pooling by no mode')
    return names.map((name) => modeOf(String(name)))
  }
  const flags = Object.entries(config).filter(([key]) => key.startsWith('pooling_mode_'))
  const active = flags
    .filter(([, isActive]) => isActive === true)
    .map(([key]) => modeOf(key.slice('pooling_mode_'.length)))
  if (active.length > 0) return active.sort((left, right) => MODES.indexOf(left) - MODES.indexOf(right))
  // The constructor's default, which a file that says false has not left open.
  if (config['pooling_mode_mean_tokens'] === false) throw unsupported('pooling by no mode')
  return ['mean']
}

const OLDER_NAMES: Readonly<Record<string, PoolingMode>> = {
  cls_token: 'cls',
  max_tokens: 'max',
  mean_tokens: 'mean',
  weightedmean_tokens: 'weightedmean',
}

function modeOf(name: string): PoolingMode {
  const mode = MODES.find((known) => known === (OLDER_NAMES[name] ?? name))
  if (mode === undefined) throw unsupported(`pooling by ${name}`)
  return mode
}

/** The modules behind the pooling, in their order. */
async function readSteps(
  folder: string,
  modules: readonly Module[],
  width: number | undefined,
): Promise<{ steps: Step[]; size: number | undefined }> {
  const steps: Step[] = []
  let size = width
  for (const module of modules) {
    const name = nameOf(module)
    if (name === 'Dense') {
      const dense = await readDense(folder, pathOf(module))
      if (size !== undefined && size !== dense.inSize)
        throw invalid(`${pathOf(module)}: it takes ${dense.inSize} elements, and gets ${size}`)
      steps.push(dense)
      size = dense.outSize
    } else if (name === 'Normalize') steps.push({ kind: 'normalize' })
    // Drops nothing but in training.
    else if (name !== 'Dropout') throw unsupported(moduleName(module))
  }
  return { steps, size }
}

async function readDense(folder: string, path: string): Promise<DenseStep> {
  const config = await readJson(folder, within(path, 'config.json'), DENSE)
  const { in_features: inSize, out_features: outSize, bias: hasBias, use_residual: addsInput } = config
  for (const name of [config.module_input_name, config.module_output_name]) {
    if (name !== undefined && name !== null && name !== 'sentence_embedding')
      throw unsupported(`the module Dense of ${path} on ${name}`)
  }
  const tensors = await denseWeights(folder, path)
  const take = (name: string, shape: number[]): Float32Array => {
    const tensor = tensors.get(name)
    if (tensor === undefined || tensor.shape.join() !== shape.join())
      throw invalid(`${path}/model.safetensors: it has no ${name} of [${shape.join(', ')}]`)
    return tensor.data
  }
  const residual = inSize === outSize ? 'input' : () => take('residual.weight', [outSize, inSize])
  return {
    kind: 'dense',
    inSize,
    outSize,
    weight: take('linear.weight', [outSize, inSize]),
    bias: hasBias ? take('linear.bias', [outSize]) : undefined,
    activation: activationOf(config.activation_function, path),
    residual: addsInput !== true ? 'none' : typeof residual === 'string' ? residual : residual(),
  }
}

async function denseWeights(folder: string, path: string): Promise<Map<string, FloatTensor>> {
  const name = within(path, 'model.safetensors')
  const found = await stat(join(folder, name)).catch(() => undefined)
  if (found !== undefined) return await readSafetensors(folder, name)
  throw new HearthError(
    'model-unsupported',
    `${name} is missing: weights in ${path}/pytorch_model.bin are not read, because a pickle can run code. Load the model in sentence-transformers and save it again, which writes safetensors`,
  )
}

function activationOf(name: string, path: string): Activation {
  const activation = ACTIVATIONS.find((known) => new RegExp(`^torch\\.nn\\.(.*\\.)?${known}$`).test(name))
  if (activation === undefined) throw unsupported(`the activation ${name} (${path})`)
  return activation
}

async function readPrompts(folder: string): Promise<Pick<EmbeddingRecipe, 'prompts' | 'defaultPrompt'>> {
  const name = 'config_sentence_transformers.json'
  const file = await readJson(folder, name, PROMPTS, {})
  const prompts = file.prompts ?? {}
  const chosen = file.default_prompt_name ?? undefined
  if (chosen !== undefined && prompts[chosen] === undefined)
    throw invalid(`${name}: it has no prompt "${chosen}", which default_prompt_name names`)
  return { prompts, defaultPrompt: chosen }
}

async function readTransformer(
  folder: string,
  path: string,
): Promise<Pick<EmbeddingRecipe, 'lowercases' | 'tokensMax'>> {
  const name = 'sentence_bert_config.json'
  const own = path === '' ? {} : await readJson(folder, within(path, name), TRANSFORMER, {})
  const settings = { ...(await readJson(folder, name, TRANSFORMER, {})), ...own }
  return { lowercases: settings.do_lower_case === true, tokensMax: settings.max_seq_length ?? undefined }
}

function shorterOf({
  is_matryoshka: isMatryoshka,
  matryoshka_dimensions: dimensions,
}: Pick<ModelConfig, 'is_matryoshka' | 'matryoshka_dimensions'>): EmbeddingRecipe['shorter'] {
  if (dimensions !== undefined && dimensions !== null) return dimensions
  return isMatryoshka === true ? 'any' : 'none'
}

function unsupported(what: string): HearthError {
  return new HearthError(
    'model-unsupported',
    `this embedding model needs ${what}, which Hearth does not support`,
  )
}

function unknownPooling(): HearthError {
  return new HearthError(
    'model-unsupported',
    'nothing says how the vectors of tokens become one: copy modules.json and 1_Pooling/config.json from the model that this is an export of, then add the folder again',
  )
}

function invalid(why: string): HearthError {
  return new HearthError('context-invalid', why)
}
