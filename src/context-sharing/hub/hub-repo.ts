import { homedir } from 'node:os'
import { join } from 'node:path'
import { HearthError } from '../../base/errors.ts'

/** A model of a hub, as "hf:OWNER/NAME@REVISION" names it. */
export interface HubRepo {
  /** "OWNER/NAME". */
  name: string
  /** A branch, a tag or a commit. */
  revision: string
}

/** Hub settings from the environment; the names are those of Hugging Face's own tools. */
export interface HubEnvironment {
  /** HF_ENDPOINT, without a slash at its end. */
  endpoint: string
  /** HF_TOKEN. Sent to the endpoint only, and never logged. */
  token: string | undefined
  /** HF_HUB_CACHE, or hub in HF_HOME. */
  cachePath: string
  /** HF_HUB_OFFLINE: only cached files are used and the hub is not asked. */
  isOffline: boolean
}

const PREFIX = 'hf:'
const NAME = /^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/
const REVISION = /^[\w][\w./+-]{0,254}$/
const COMMIT = /^[0-9a-f]{40}$/

export function isHubName(text: string): boolean {
  return text.startsWith(PREFIX)
}

/** Throws `usage`. */
export function parseHubName(text: string): HubRepo {
  const [name = '', revision = 'main', ...rest] = text.slice(PREFIX.length).split('@')
  const isWhole = rest.length === 0 && NAME.test(name) && REVISION.test(revision)
  // Two dots would leave the cache's folder, two dashes are its separator.
  if (isWhole && !/\.\.|--/.test(name) && !/\.\.|\/\/|\/$/.test(revision)) return { name, revision }
  throw new HearthError(
    'usage',
    `"${text}" is not the name of a hub model: write hf:OWNER/NAME or hf:OWNER/NAME@REVISION`,
  )
}

export function isCommit(revision: string): boolean {
  return COMMIT.test(revision)
}

/** Throws `config-invalid`. */
export function readHubEnvironment(variables: NodeJS.ProcessEnv): HubEnvironment {
  const read = (name: string): string | undefined => variables[name]?.trim() || undefined
  const endpoint = (read('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, '')
  if (!URL.canParse(endpoint) || !/^https?:\/\//.test(endpoint)) {
    throw new HearthError(
      'config-invalid',
      `HF_ENDPOINT is not a web address: "${endpoint}": set it to one such as https://huggingface.co, or unset it`,
    )
  }
  const home = read('HF_HOME') ?? join(read('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface')
  return {
    endpoint,
    token: read('HF_TOKEN'),
    cachePath: read('HF_HUB_CACHE') ?? read('HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub'),
    isOffline: /^(1|true|yes|on)$/i.test(read('HF_HUB_OFFLINE') ?? ''),
  }
}
