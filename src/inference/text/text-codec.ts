// Between text and tokens: the context's tokenizer and its chat template.
import { Tokenizer } from '@huggingface/tokenizers'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { ContextFiles, TokenizerConfig } from '../contract/model-folder.ts'
import { Template } from './jinja/template.ts'
import type { ChatMessage, Prompt } from './openai-request.ts'

export class TextCodec {
  readonly #tokenizer: Tokenizer
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
    try {
      this.#tokenizer = new Tokenizer(files.tokenizer, {
        ...files.tokenizerConfig,
        clean_up_tokenization_spaces: cleansUpSpaces(files),
      })
      this.#template = files.chatTemplate === undefined ? undefined : new Template(files.chatTemplate, wallMs)
    } catch (error) {
      throw new HearthError('context-invalid', `tokenizer or chat template: ${messageOf(error)}`, {
        cause: error,
      })
    }
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
    return tokens.length === 0 ? '' : this.#tokenizer.decode([...tokens], { skip_special_tokens: true })
  }

  /** A single token as text, special ones too. */
  nameOf(token: number): string {
    return this.#tokenizer.decode([token])
  }

  #encode(text: string, addsSpecialTokens: boolean): number[] {
    try {
      const { ids, tokens } = this.#tokenizer.encode(text, { add_special_tokens: addsSpecialTokens })
      const unknown = ids.findIndex((id: unknown) => !Number.isSafeInteger(id))
      if (unknown !== -1) throw new Error(`${JSON.stringify(tokens[unknown])} is not in the vocabulary`)
      return ids
    } catch (error) {
      throw new HearthError('request-invalid', `the prompt cannot be tokenized: ${messageOf(error)}`)
    }
  }

  #render(messages: ChatMessage[], variables: Record<string, unknown>): string {
    if (this.#template === undefined) {
      throw new HearthError('request-invalid', 'this context has no chat template: use /v1/completions')
    }
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
      throw new HearthError('request-invalid', `the chat template refuses the messages: ${messageOf(error)}`)
    }
  }
}

/**
 * Whether decoding removes spaces before punctuation, by transformers' rule: only where the tokenizer config
 * asks for it, and never for BPE, whose spaces are the model's own unless the config insists.
 */
function cleansUpSpaces({
  tokenizer,
  tokenizerConfig,
}: Pick<ContextFiles, 'tokenizer' | 'tokenizerConfig'>): boolean {
  if (tokenizerConfig.clean_up_tokenization_spaces !== true) return false
  const { model } = tokenizer as { model?: { type?: unknown; merges?: unknown } }
  const isBpe = model?.type === 'BPE' || (model?.type === undefined && model?.merges !== undefined)
  return (
    !isBpe || tokenizerConfig.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output === true
  )
}

function specialTokens(config: TokenizerConfig): Record<string, string> {
  const names = ['bos_token', 'eos_token', 'pad_token', 'unk_token'] as const
  return Object.fromEntries(
    names.flatMap((name) => {
      const token = config[name]
      if (token === undefined || token === null) return []
      return [[name, typeof token === 'string' ? token : token.content]]
    }),
  )
}
