// Reads the small files of a context, which describe the model, its text and its defaults.
import { z } from 'zod'
import { readJson, readOptional } from './json-file.ts'

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
  /** Whether vectors may be cut (Matryoshka), and to which lengths. */
  is_matryoshka?: boolean | null | undefined
  matryoshka_dimensions?: number[] | null | undefined
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
  is_matryoshka: z.boolean().nullish(),
  matryoshka_dimensions: z.array(COUNT).nullish(),
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
