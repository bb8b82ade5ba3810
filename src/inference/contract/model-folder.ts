// Reads the small files of a context, which describe the model, its text and its defaults.
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { HearthError, messageOf } from '../../base/errors.ts'
import { CONTEXT_JSON_BYTES_MAX } from '../../base/limits.ts'
import { parsePythonJson } from './python-json.ts'

/** How a text's vector is computed from its tokens' vectors. */
export interface Pooling {
  kind: 'mean' | 'first' | 'last'
  /** Whether vectors are scaled to length 1. */
  normalizes: boolean
}

type TokenIds = number | number[]

/** The fields of config.json that Hearth reads. */
export interface ModelConfig {
  model_type?: string | undefined
  num_hidden_layers?: number | undefined
  num_attention_heads?: number | undefined
  num_key_value_heads?: number | null | undefined
  hidden_size?: number | undefined
  head_dim?: number | null | undefined
  vocab_size?: number | undefined
  max_position_embeddings?: number | null | undefined
  /** Other names of the same, by GPT-2, GPT, ChatGLM and MPT. */
  n_positions?: number | null | undefined
  n_ctx?: number | null | undefined
  seq_length?: number | null | undefined
  max_seq_len?: number | null | undefined
  pad_token_id?: number | null | undefined
  eos_token_id?: TokenIds | null | undefined
}

/** The fields of generation_config.json that Hearth reads. */
export interface GenerationConfig {
  do_sample?: boolean | null | undefined
  temperature?: number | null | undefined
  top_k?: number | null | undefined
  top_p?: number | null | undefined
  min_p?: number | null | undefined
  repetition_penalty?: number | null | undefined
  max_new_tokens?: number | null | undefined
  eos_token_id?: TokenIds | null | undefined
}

/** A special token is text, or an object that holds it. */
type SpecialToken = string | { content: string }

/** The fields of tokenizer_config.json that this file reads; the tokenizer reads more. */
export interface TokenizerConfig {
  chat_template?: string | { name: string; template: string }[] | null | undefined
  model_max_length?: number | null | undefined
  clean_up_tokenization_spaces?: boolean | null | undefined
  clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output?: boolean | null | undefined
  bos_token?: SpecialToken | null | undefined
  eos_token?: SpecialToken | null | undefined
  pad_token?: SpecialToken | null | undefined
  unk_token?: SpecialToken | null | undefined
  sep_token?: SpecialToken | null | undefined
  cls_token?: SpecialToken | null | undefined
  mask_token?: SpecialToken | null | undefined
  additional_special_tokens?: SpecialToken[] | null | undefined
  extra_special_tokens?: SpecialToken[] | Record<string, SpecialToken> | null | undefined
  added_tokens_decoder?: Record<string, { content: string; special?: boolean | undefined }> | null | undefined
}

const COUNT: z.ZodType<number> = z.int().min(1)
/** A length may be infinite: Python's float('inf') for none. */
const LENGTH: z.ZodType<number> = z.union([COUNT, z.custom<number>((value) => value === Infinity)])
const TOKEN_ID: z.ZodType<number> = z.int().min(0)
const TOKEN_IDS: z.ZodType<TokenIds> = z.union([TOKEN_ID, z.array(TOKEN_ID)])
const SPECIAL_TOKEN: z.ZodType<SpecialToken> = z.union([z.string(), z.looseObject({ content: z.string() })])

const CONFIG: z.ZodType<ModelConfig> = z.looseObject({
  model_type: z.string().optional(),
  num_hidden_layers: COUNT.optional(),
  num_attention_heads: COUNT.optional(),
  num_key_value_heads: COUNT.nullish(),
  hidden_size: COUNT.optional(),
  head_dim: COUNT.nullish(),
  vocab_size: COUNT.optional(),
  max_position_embeddings: LENGTH.nullish(),
  n_positions: LENGTH.nullish(),
  n_ctx: LENGTH.nullish(),
  seq_length: LENGTH.nullish(),
  max_seq_len: LENGTH.nullish(),
  pad_token_id: z.int().nullish(),
  eos_token_id: TOKEN_IDS.nullish(),
})

const GENERATION_CONFIG: z.ZodType<GenerationConfig> = z.looseObject({
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).nullish(),
  top_k: z.int().min(0).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().gt(0).nullish(),
  max_new_tokens: COUNT.nullish(),
  eos_token_id: TOKEN_IDS.nullish(),
})

const TOKENIZER_CONFIG: z.ZodType<TokenizerConfig> = z.looseObject({
  chat_template: z
    .union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))])
    .nullish(),
  model_max_length: z.union([z.number(), LENGTH]).nullish(),
  clean_up_tokenization_spaces: z.boolean().nullish(),
  clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: z.boolean().nullish(),
  bos_token: SPECIAL_TOKEN.nullish(),
  eos_token: SPECIAL_TOKEN.nullish(),
  pad_token: SPECIAL_TOKEN.nullish(),
  unk_token: SPECIAL_TOKEN.nullish(),
  sep_token: SPECIAL_TOKEN.nullish(),
  cls_token: SPECIAL_TOKEN.nullish(),
  mask_token: SPECIAL_TOKEN.nullish(),
  additional_special_tokens: z.array(SPECIAL_TOKEN).nullish(),
  extra_special_tokens: z.union([z.array(SPECIAL_TOKEN), z.record(z.string(), SPECIAL_TOKEN)]).nullish(),
  added_tokens_decoder: z
    .record(z.string(), z.looseObject({ content: z.string(), special: z.boolean().optional() }))
    .nullish(),
})

const TOKENIZER: z.ZodType<object> = z.looseObject({ model: z.looseObject({}) })

export interface ContextFiles {
  config: ModelConfig
  generationConfig: GenerationConfig
  tokenizer: object
  tokenizerConfig: TokenizerConfig
  /** undefined for a context without chat. */
  chatTemplate: string | undefined
}

/** Reads and checks the files. Throws `context-invalid`, naming the file and its fault. */
export async function readContextFiles(folder: string): Promise<ContextFiles> {
  const config = await readJson(folder, 'config.json', CONFIG)
  const generationConfig = await readJson(folder, 'generation_config.json', GENERATION_CONFIG, {})
  const tokenizer = await readJson(folder, 'tokenizer.json', TOKENIZER)
  const specialTokens = await readJson(folder, 'special_tokens_map.json', TOKENIZER_CONFIG, {})
  const ownConfig = await readJson(folder, 'tokenizer_config.json', TOKENIZER_CONFIG, {})
  const tokenizerConfig = { ...specialTokens, ...ownConfig }
  const chatTemplate = await readTemplate(folder, tokenizerConfig)
  return { config, generationConfig, tokenizer, tokenizerConfig, chatTemplate }
}

async function readTemplate(folder: string, config: TokenizerConfig): Promise<string | undefined> {
  return (await readOptional(folder, 'chat_template.jinja')) ?? inlineTemplate(config)
}

function inlineTemplate({ chat_template: template }: TokenizerConfig): string | undefined {
  if (typeof template === 'string') return template
  return template?.find(({ name }) => name === 'default')?.template
}

/** `absent` stands for a file that may be missing. */
async function readJson<T>(folder: string, name: string, schema: z.ZodType<T>, absent?: T): Promise<T> {
  const text = await readOptional(folder, name)
  if (text === undefined) {
    if (absent !== undefined) return absent
    throw new HearthError('context-invalid', `${name} is missing`, { data: { folder } })
  }
  const parsed = schema.safeParse(parseJson(name, text))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new HearthError('context-invalid', `${name}: ${issue?.path.join('.')}: ${issue?.message}`)
}

function parseJson(name: string, text: string): unknown {
  try {
    return parsePythonJson(text)
  } catch (error) {
    throw new HearthError('context-invalid', `${name}: ${messageOf(error)}`, { cause: error })
  }
}

async function readOptional(folder: string, name: string): Promise<string | undefined> {
  const path = join(folder, name)
  const found = await stat(path).catch(() => undefined)
  if (found === undefined) return undefined
  if (found.size > CONTEXT_JSON_BYTES_MAX) {
    throw new HearthError(
      'context-invalid',
      `${name} has ${found.size} bytes, over the limit of ${CONTEXT_JSON_BYTES_MAX}`,
    )
  }
  return await readFile(path, 'utf8')
}

/** The older form has a flag for each mode, the newer one the mode's name. */
const POOLING: z.ZodType<Record<string, unknown>> = z.record(z.string(), z.unknown())

const MODULES: z.ZodType<{ type: string; path?: string | undefined }[]> = z.array(
  z.looseObject({ type: z.string(), path: z.string().optional() }),
)

const POOLING_KINDS: Readonly<Record<string, Pooling['kind']>> = {
  mean: 'mean',
  mean_tokens: 'mean',
  cls: 'first',
  cls_token: 'first',
  lasttoken: 'last',
}

const KNOWN_MODULES = new Set(['Transformer', 'Pooling', 'Normalize'])

/**
 * Reads the pooling from sentence-transformers' files; without them, the mean, scaled to length 1. Throws
 * `model-unsupported`, naming an unsupported step, because leaving it out would give wrong vectors.
 */
export async function readPooling(folder: string): Promise<Pooling> {
  const modules = await readJson(folder, 'modules.json', MODULES, [{ type: 'Normalize' }])
  const typeOf = ({ type }: { type: string }): string => type.slice(type.lastIndexOf('.') + 1)
  const foreign = modules.find((module) => !KNOWN_MODULES.has(typeOf(module)))
  if (foreign !== undefined) throw unsupportedPooling(`the module ${foreign.type}`)
  const path = modules.find((module) => typeOf(module) === 'Pooling')?.path ?? '1_Pooling'
  if (!/^[\w.-]+$/.test(path) || path.startsWith('.')) throw unsupportedPooling(`the folder "${path}"`)
  return {
    kind: poolingKind(await readJson(folder, `${path}/config.json`, POOLING, {})),
    normalizes: modules.some((module) => typeOf(module) === 'Normalize'),
  }
}

function poolingKind(config: Record<string, unknown>): Pooling['kind'] {
  const { pooling_mode: named } = config
  const flagged = Object.keys(config).filter((key) => key.startsWith('pooling_mode_') && config[key] === true)
  const modes = typeof named === 'string' ? [named] : flagged.map((key) => key.slice('pooling_mode_'.length))
  const [mode = 'mean'] = modes
  const kind = POOLING_KINDS[mode]
  if (modes.length > 1 || kind === undefined) throw unsupportedPooling(`pooling by ${modes.join(' and ')}`)
  return kind
}

function unsupportedPooling(what: string): HearthError {
  return new HearthError(
    'model-unsupported',
    `this embedding model needs ${what}, which Hearth does not support`,
  )
}
