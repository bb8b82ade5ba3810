// From messages to prompt tokens and back, with the files of a Hugging Face model folder.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Template } from '../../src/inference/text/jinja/template.ts'
import { Tokenizer } from '../../src/inference/text/tokenizer/tokenizer.ts'

export interface Message {
  role: 'system' | 'user' | 'assistant'
  content: string
}

interface TokenizerConfig {
  chat_template: string
  bos_token: string
  eos_token: string
}

export class Chat {
  readonly #tokenizer: Tokenizer
  readonly #template: Template
  readonly #config: TokenizerConfig

  constructor(tokenizerFile: object, tokenizerConfig: object) {
    this.#tokenizer = new Tokenizer(tokenizerFile)
    this.#config = tokenizerConfig as TokenizerConfig
    this.#template = new Template(this.#config.chat_template, () => 0)
  }

  /** The prompt that ends where the assistant's reply begins. */
  renderPrompt(messages: readonly Message[]): string {
    const { bos_token, eos_token } = this.#config
    return this.#template.render({
      messages: [...messages],
      bos_token,
      eos_token,
      add_generation_prompt: true,
    })
  }

  encodePrompt(messages: readonly Message[]): number[] {
    return this.encode(this.renderPrompt(messages))
  }

  encode(text: string): number[] {
    return this.#tokenizer.encode(text, false)
  }

  /** The text of `tokenIds`, without special tokens. */
  decode(tokenIds: readonly number[]): string {
    return this.#tokenizer.decode(tokenIds, { skipsSpecialTokens: true })
  }
}

/** Opens the tokenizer and the chat template of the model in `folder`. */
export function openChat(folder: string): Chat {
  const read = (name: string): object => JSON.parse(readFileSync(join(folder, name), 'utf8')) as object
  return new Chat(read('tokenizer.json'), read('tokenizer_config.json'))
}
