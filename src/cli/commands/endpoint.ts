// `hearth up --engine openai`: a peer that serves jobs through a model server that already runs here.
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { ImportResult } from '../../context-sharing/store/context-store.ts'
import {
  DECLARATION_RUNTIME,
  describeDeclaration,
  writeDeclaration,
} from '../../inference/endpoint/declaration.ts'
import { EndpointClient } from '../../inference/endpoint/endpoint-client.ts'
import type { EndpointOptions } from '../../inference/endpoint/endpoint-options.ts'
import type { Peer } from '../../node/peer.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { paint } from '../terminal/terminal.ts'

export interface EndpointCommandOptions {
  engine?: string
  url?: string
  model?: string
  declare?: string
  apiKeyFile?: string
  name?: string
}

/** The endpoint that the options name; undefined without `--engine openai`. Throws `usage` or `config-invalid`. */
export function readEndpoint(options: EndpointCommandOptions): EndpointOptions | undefined {
  const { url, model, declare, apiKeyFile, name } = options
  if (options.engine !== 'openai') {
    const given = Object.entries({ url, model, declare, apiKeyFile, name }).find(
      ([, value]) => value !== undefined,
    )
    if (given === undefined) return undefined
    throw new HearthError(
      'usage',
      `--${kebab(given[0])} works only with --engine openai. Add --engine openai, or leave it out`,
    )
  }
  if (url === undefined || model === undefined) {
    throw new HearthError(
      'usage',
      '--engine openai needs --url (such as http://127.0.0.1:8000/v1) and --model (the name of the model on the server)',
    )
  }
  const apiKey = apiKeyFile === undefined ? undefined : readKey(apiKeyFile)
  return { url: checkedUrl(url), model, declared: declare, apiKey }
}

/**
 * Adds the endpoint's model to the store as a named context, and prints whether the server answers.
 * A silent server is no error, because it may still be loading its model.
 */
export async function serveEndpoint(
  peer: Peer,
  endpoint: EndpointOptions,
  name: string | undefined,
  context: CommandContext,
): Promise<void> {
  const { terminal, signal } = context
  const label = name ?? nameFor(endpoint.model)
  const { contextId } = await addDeclaration(peer, endpoint, label)
  const problem = await problemOf(endpoint, context, signal)
  terminal.event({ event: 'endpoint', contextId, name: label ?? null, model: endpoint.model, problem })
  terminal.note(`  serves  ${describeDeclaration(endpoint)} as ${label ?? contextId}`)
  if (problem !== null) terminal.note(`  ${paint('yellow', `not ready: ${problem}`)}`)
}

async function addDeclaration(
  peer: Peer,
  { model, declared }: EndpointOptions,
  name: string | undefined,
): Promise<ImportResult> {
  const folder = await mkdtemp(join(tmpdir(), 'hearth-declaration-'))
  try {
    await writeDeclaration(folder, { model, declared })
    const naming = name === undefined ? {} : { name }
    return await peer.addContext(folder, { ...naming, runtime: DECLARATION_RUNTIME })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Why the endpoint cannot serve yet; null when it can. */
async function problemOf(
  endpoint: EndpointOptions,
  components: CommandContext,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    await new EndpointClient(components, endpoint).requireModel(signal)
    return null
  } catch (error) {
    signal.throwIfAborted()
    return messageOf(error)
  }
}

/** "llama3.1:8b" → "llama3.1-8b": replaces characters that a context name may not contain. */
function nameFor(model: string): string | undefined {
  const name = model.replaceAll(/[^A-Za-z0-9._/-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '')
  return name === '' ? undefined : name.slice(0, 128)
}

function checkedUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain = url !== undefined && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === ''
  if (!isPlain)
    throw new HearthError('usage', '--url must be the base URL of an API, such as http://127.0.0.1:8000/v1')
  if (url.username !== '' || url.password !== '') {
    throw new HearthError(
      'usage',
      '--url must not contain a key, because it is shown in logs. Put the key into a file and give --api-key-file FILE',
    )
  }
  return url.href
}

function readKey(path: string): string {
  let key: string
  try {
    key = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new HearthError('config-invalid', `Cannot read the API key file ${path}: ${messageOf(cause)}`, {
      cause,
    })
  }
  if (/^[\u0021-\u007e]{1,4096}$/.test(key)) return key
  throw new HearthError(
    'config-invalid',
    `${path} is not an API key file, because a key is one line of printable ASCII. Write only the key into it`,
  )
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
