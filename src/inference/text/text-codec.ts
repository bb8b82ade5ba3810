// Between text and tokens: the context's tokenizer and its chat template.
import { HearthError, messageOf } from '../../base/errors.ts'
import type { ContextFiles, TokenizerConfig } from '../contract/model-folder.ts'
import { Template } from './jinja/template.ts'
import type { ChatMessage, Prompt } from './openai-request.ts'
import { noChatTemplate } from './request-check.ts'
import { cleanUp } from './tokenizer/decoders.ts'
import { Tokenizer } from './tokenizer/tokenizer.ts'

/** Throws `context-invalid`, with what failed and what to do. */
function valid<T>(make: () => T, what: string, remedy: string): T {
  try {
    return make()
  } catch (cause) {
    throw new HearthError('context-invalid', `${what}: ${messageOf(cause)}. ${remedy}`, { cause })
  }
}

export class TextCodec {
  readonly #tokenizer: Tokenizer
  readonly #cleansUp: boolean
  readonly #template: Template | undefined
  readonly #specialTokens: Readonly<Record<string, string>>

  /**
   * Throws `context-invalid` when the tokenizer or the template cannot be used.
   * @param wallMs Unix time, which templates may print
   */
  constructor(
    files: Pick<ContextFiles, 'tokenizer' | 'tokenizerConfig' | 'chatTemplate'>,
    wallMs: () => number,
  ) {
    this.#tokenizer = valid(
      () => new Tokenizer(files.tokenizer, declaredTokens(files.tokenizerConfig)),
      'cannot use the tokenizer',
      'Hearth reads it from tokenizer.json, tokenizer_config.json and special_tokens_map.json',
    )
    this.#cleansUp = cleansUpSpaces(files.tokenizerConfig, this.#tokenizer.modelType)
    const { chatTemplate } = files
    this.#template = valid(
      () => (chatTemplate === undefined ? undefined : new Template(chatTemplate, wallMs)),
      'cannot render the chat template',
      'Change it in chat_template.jinja or tokenizer_config.json, then add the folder again',
    )
    this.#specialTokens = specialTokens(files.tokenizerConfig)
  }

  /** The tokens that the model reads. Throws `request-invalid`. */
  encode(prompt: Prompt): number[] {
    if (prompt.kind === 'tokens') return prompt.tokens
    if (prompt.kind === 'text') return this.#encode(prompt.text, true)
    // The template writes the special tokens itself.
    return this.#encode(this.#render(prompt.messages, prompt.templateVariables), false)
  }

  /** Tokens of text alone, special ones added as the tokenizer wants them. Throws `request-invalid`. */
  encodeText(text: string): number[] {
    return this.#encode(text, true)
  }

  /** Text of tokens, without special ones. Bytes that are not whole characters become U+FFFD. */
  decode(tokens: readonly number[]): string {
    const text = this.#tokenizer.decode(tokens, { skipsSpecialTokens: true })
    return this.#cleansUp ? cleanUp(text) : text
  }

  /** A single token's addition to a text, also of a special one. Its leading space stays, and its bytes may be part of a character. */
  pieceOf(token: number): { text: string; bytes: Uint8Array } {
    return this.#tokenizer.pieceOf(token)
  }

  isSpecial(token: number): boolean {
    return this.#tokenizer.isSpecial(token)
  }

  /** The id of the token that ends a text, where the tokenizer names one that the vocabulary has. */
  get endToken(): number | undefined {
    const name = this.#specialTokens['eos_token']
    return name === undefined ? undefined : this.#tokenizer.idOf(name)
  }

  #encode(text: string, addsSpecialTokens: boolean): number[] {
    try {
      return this.#tokenizer.encode(text, addsSpecialTokens)
    } catch (error) {
      throw new HearthError('request-invalid', `cannot tokenize the prompt: ${messageOf(error)}`)
    }
  }

  #render(messages: ChatMessage[], variables: Record<string, unknown>): string {
    if (this.#template === undefined) throw noChatTemplate()
    try {
      return this.#template.render({
        // transformers passes both to every template: `tools is not none` must be false without tools.
        tools: null,
        documents: null,
        ...variables,
        ...this.#specialTokens,
        messages,
        add_generation_prompt: true,
      })
    } catch (error) {
      throw new HearthError('request-invalid', `the chat template rejects the messages: ${messageOf(error)}`)
    }
  }
}

/**
 * Whether decoding removes spaces before punctuation, by transformers' rule: only where the tokenizer config
 * asks for it, and never for BPE, whose spaces are the model's own unless the config insists.
 */
function cleansUpSpaces(config: TokenizerConfig, modelType: Tokenizer['modelType']): boolean {
  if (config.clean_up_tokenization_spaces !== true) return false
  const insists = config.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output === true
  return modelType !== 'BPE' || insists
}

const SPECIAL_TOKEN_NAMES = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const

/** Texts of all special tokens that the config declares: some tokenizer.json do not list them. */
function declaredTokens(config: TokenizerConfig): string[] {
  const named = SPECIAL_TOKEN_NAMES.map((name) => config[name])
  const decoder = Object.entries(config.added_tokens_decoder ?? {})
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, token]) => token)
    .filter(({ special }) => special === true)
  const extra = config.extra_special_tokens
  const more = Array.isArray(extra) ? extra : Object.values(extra ?? {})
  return [...decoder, ...named, ...(config.additional_special_tokens ?? []), ...more]
    .filter((token) => token !== undefined && token !== null)
    .map((token) => (typeof token === 'string' ? token : token.content))
}

function specialTokens(config: TokenizerConfig): Record<string, string> {
  return Object.fromEntries(
    SPECIAL_TOKEN_NAMES.flatMap((name) => {
      const token = config[name]
      if (token === undefined || token === null) return []
      return [[name, typeof token === 'string' ? token : token.content]]
    }),
  )
}
