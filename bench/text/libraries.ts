// Other programs' renderers and tokenizers, from bench/peers.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Template } from '../../src/inference/text/jinja/template.ts'

const PEERS = process.env['HEARTH_PEERS'] ?? join(import.meta.dirname, '../peers/package.json')
const requirePeer = createRequire(PEERS)

export type Variables = Readonly<Record<string, unknown>>
/** Reads a template; the result renders it. */
export type Renderer = (source: string) => (variables: Variables) => string

export interface RustTokenizer {
  encode(text: string, pair: null, options: { addSpecialTokens: boolean }): Promise<{ getIds(): number[] }>
}

export interface OldTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] }
}

interface MinijinjaEnvironment {
  trimBlocks: boolean
  lstripBlocks: boolean
  keepTrailingNewline: boolean
  fuel: number
  enablePyCompat(): void
  addGlobal(name: string, value: unknown): void
  addTemplate(name: string, source: string): void
  renderTemplate(name: string, variables: Variables): string
}

export const RENDERERS = ['Hearth', '@huggingface/jinja', 'minijinja-js'] as const
export type RendererName = (typeof RENDERERS)[number]

/** When the goldens were made. */
const WALL_MS = Date.UTC(2026, 2, 5, 7, 8, 9)
/** The bound that minijinja has; Hearth's is 10 million steps. */
const FUEL = 10_000_000

export function rendererOf(name: RendererName): Renderer {
  if (name === 'Hearth') {
    return (source) => {
      const template = new Template(source, () => WALL_MS)
      return (variables) => template.render(variables)
    }
  }
  return name === 'minijinja-js' ? minijinja() : oldJinja()
}

function oldJinja(): Renderer {
  const library = requirePeer('@huggingface/jinja') as {
    Template: new (source: string) => { render(variables: Variables): string }
  }
  return (source) => {
    const template = new library.Template(source)
    return (variables) => template.render(variables)
  }
}

/** Set up as transformers sets Jinja2 up. */
function minijinja(): Renderer {
  const library = requirePeer('minijinja-js') as { Environment: new () => MinijinjaEnvironment }
  return (source) => {
    const environment = new library.Environment()
    environment.enablePyCompat()
    environment.trimBlocks = true
    environment.lstripBlocks = true
    environment.fuel = FUEL
    environment.addGlobal('raise_exception', (message: string) => {
      throw new Error(message)
    })
    environment.addGlobal('strftime_now', () => '')
    environment.addTemplate('chat', source)
    return (variables) => environment.renderTemplate('chat', variables)
  }
}

export function rustTokenizer(file: object): RustTokenizer {
  const library = requirePeer('tokenizers') as { Tokenizer: { fromString(json: string): RustTokenizer } }
  return library.Tokenizer.fromString(JSON.stringify(file))
}

export function oldTokenizer(file: object, config: object): OldTokenizer {
  const library = requirePeer('@huggingface/tokenizers') as {
    Tokenizer: new (file: object, config: object) => OldTokenizer
  }
  return new library.Tokenizer(file, config)
}

/** Whether bench/peers is installed. */
export function hasLibraries(): boolean {
  try {
    for (const name of ['tokenizers', 'minijinja-js', '@huggingface/jinja', '@huggingface/tokenizers'])
      requirePeer.resolve(name)
    return true
  } catch {
    return false
  }
}
