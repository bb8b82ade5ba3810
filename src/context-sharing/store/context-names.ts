import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { CONTEXT_NAMES_MAX } from '../../base/limits.ts'
import { Turns } from '../../base/waiting/turns.ts'
import { replaceFile } from '../disk/disk.ts'
import { contextIdSchema, isContextId } from '../content/manifest.ts'

/** An abbreviated contextId needs this many characters, because all ids begin alike. */
const ID_START_CHARACTERS_MIN = 12
const NAME = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/

const namesSchema: z.ZodType<{ version: 1; names: Record<string, string> }> = z.strictObject({
  version: z.literal(1),
  names: z.record(z.string().regex(NAME), contextIdSchema),
})

/** Local labels of contexts, in one JSON file that is replaced whole. */
export class ContextNames {
  readonly #path: string
  #names = new Map<string, string>()
  readonly #turns = new Turns()

  constructor(path: string) {
    this.#path = path
  }

  /** Throws `data-corrupt`. */
  async load(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    })
    this.#names = new Map(text === undefined ? [] : Object.entries(this.#parse(text)))
  }

  get(name: string): string | undefined {
    return this.#names.get(name)
  }

  /** Names of a context, sorted. */
  of(contextId: string): string[] {
    return [...this.#names].flatMap(([name, id]) => (id === contextId ? [name] : [])).sort()
  }

  /**
   * The contextId that a name, an id (here or not) or the start of an id that is here stands for.
   * Throws `context-unknown` or `context-ambiguous`.
   */
  resolve(nameOrId: string, idsHere: Iterable<string>): string {
    const named = this.get(nameOrId)
    if (named !== undefined) return named
    if (isContextId(nameOrId)) return nameOrId
    const isStart = nameOrId.length >= ID_START_CHARACTERS_MIN
    const ids = isStart ? [...idsHere].filter((contextId) => contextId.startsWith(nameOrId)).sort() : []
    if (ids.length > 1) {
      throw new HearthError(
        'context-ambiguous',
        `several contexts start with "${nameOrId}": ${ids.join(' and ')}. Type more of the id`,
        { data: { contextIds: ids } },
      )
    }
    if (ids[0] !== undefined) return ids[0]
    throw new HearthError(
      'context-unknown',
      `no context here is named "${nameOrId}": import a folder under that name, or use the whole contextId`,
      { data: { nameOrId } },
    )
  }

  /** Makes `name` stand for `contextId`, in place of its earlier context. */
  async set(name: string, contextId: string): Promise<void> {
    requireName(name)
    if (!this.#names.has(name) && this.#names.size >= CONTEXT_NAMES_MAX) {
      throw new HearthError(
        'limit-reached',
        `this peer already has ${CONTEXT_NAMES_MAX} names, which is the limit: remove some contexts with "hearth context rm"`,
      )
    }
    this.#names.set(name, contextId)
    await this.#save()
  }

  /** Forgets all names of a context. */
  async removeOf(contextId: string): Promise<void> {
    const names = this.of(contextId)
    for (const name of names) this.#names.delete(name)
    if (names.length > 0) await this.#save()
  }

  #parse(text: string): Record<string, string> {
    try {
      return namesSchema.parse(JSON.parse(text)).names
    } catch (cause) {
      throw new HearthError(
        'data-corrupt',
        `${this.#path} is damaged: delete the file. The contexts stay; only their names are lost`,
        { cause },
      )
    }
  }

  /** Writes run one at a time, so that the last state is the one on disk. */
  async #save(): Promise<void> {
    await this.#turns.run(() => this.#replace())
  }

  async #replace(): Promise<void> {
    const names = Object.fromEntries([...this.#names].sort(([left], [right]) => (left < right ? -1 : 1)))
    const text = `${JSON.stringify({ version: 1, names }, null, 2)}\n`
    await replaceFile(this.#path, `${this.#path}.new`, new TextEncoder().encode(text))
  }
}

/** Throws `context-invalid` for what cannot be a name. */
export function requireName(name: string): void {
  if (NAME.test(name) && !isContextId(name)) return
  throw new HearthError(
    'context-invalid',
    `${JSON.stringify(name)} cannot be a context's name: use 1 to 128 letters, digits, ".", "_", "-" or "/", starting with a letter or digit`,
  )
}
