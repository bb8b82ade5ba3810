// A context without weights: the owner's declaration of a model on an OpenAI-compatible server.
// The declaration is the context's only file, so equal declarations are one context on every machine.
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'

export interface EndpointDeclaration {
  /** The model's name at the endpoint. */
  model: string
  /** The owner's description: a digest of the weights, a licence, anything. */
  declared?: string | undefined
}

/** The runtime info of a declared context. */
export const DECLARATION_RUNTIME = {
  engine: 'openai',
  format: 'endpoint',
  entry: 'hearth-endpoint.json',
  dtype: 'none',
} as const

const DECLARATION_BYTES_MAX = 8_192

const text = (charactersMax: number): z.ZodString => z.string().min(1).max(charactersMax)

const DECLARATION: z.ZodType<EndpointDeclaration & { version: 1; engine: 'openai' }> = z.strictObject({
  version: z.literal(1),
  engine: z.literal('openai'),
  model: text(256),
  declared: text(1_024).optional(),
})

/** Writes the declaration into `folder`, byte for byte the same for the same words. Throws `usage`. */
export async function writeDeclaration(folder: string, declaration: EndpointDeclaration): Promise<void> {
  const { model, declared } = declaration
  const checked = DECLARATION.safeParse({ version: 1, engine: 'openai', model, declared })
  if (!checked.success) {
    const [issue] = checked.error.issues
    throw new HearthError('usage', `the declaration's ${issue?.path.join('.')}: ${issue?.message}`)
  }
  const body = JSON.stringify({ version: 1, engine: 'openai', model, declared }, null, 2)
  await writeFile(join(folder, DECLARATION_RUNTIME.entry), `${body}\n`)
}

/** The declaration in a context's folder; undefined when the context has none. Throws `context-invalid`. */
export async function readDeclaration(folder: string): Promise<EndpointDeclaration | undefined> {
  const path = join(folder, DECLARATION_RUNTIME.entry)
  const size = await stat(path).then(
    (stats) => stats.size,
    () => undefined,
  )
  if (size === undefined) return undefined
  if (size > DECLARATION_BYTES_MAX) throw invalid(`it has ${size} bytes, which is over the limit`)
  try {
    const { model, declared } = DECLARATION.parse(JSON.parse(await readFile(path, 'utf8')))
    return { model, declared }
  } catch (cause) {
    throw invalid('it is not a declaration that this version can read', cause)
  }
}

/** For people: "llama-3 (sha256:…)". */
export function describeDeclaration({ model, declared }: EndpointDeclaration): string {
  return declared === undefined ? model : `${model} (${declared})`
}

function invalid(why: string, cause?: unknown): HearthError {
  return new HearthError('context-invalid', `${DECLARATION_RUNTIME.entry}: ${why}`, { cause })
}
