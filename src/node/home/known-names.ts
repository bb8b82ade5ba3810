import { join } from 'node:path'
import { z, type ZodType } from 'zod'
import { CONTEXT_NAMES_MAX } from '../../base/limits.ts'
import { readJson, writeJson } from './json-file.ts'

const FILE = 'names.json'

/** By swarm and name: the CID that the name had when a job first used it. */
type Names = Record<string, Record<string, string>>
const namesSchema: ZodType<Names> = z.record(z.string(), z.record(z.string(), z.string()))

/**
 * The contexts that names stood for in earlier jobs of a data folder. Any peer can give any context any name, so the
 * first use decides, and another context under that name is refused until the user accepts it.
 */
export class KnownNames {
  readonly path: string

  constructor(folder: string) {
    this.path = join(folder, FILE)
  }

  get(swarm: string, name: string): string | undefined {
    return this.#read(swarm).get(name)
  }

  /** From now on the name stands for this context. Of too many names the one that was set longest ago is forgotten. */
  set(swarm: string, name: string, contextId: string): void {
    const names = this.#read(swarm)
    if (names.get(name) === contextId) return
    names.delete(name)
    names.set(name, contextId)
    const kept = [...names].slice(-CONTEXT_NAMES_MAX)
    writeJson(this.path, { ...this.#all(), [swarm]: Object.fromEntries(kept) })
  }

  #read(swarm: string): Map<string, string> {
    return new Map(Object.entries(this.#all()[swarm] ?? {}))
  }

  #all(): Names {
    return readJson(this.path, namesSchema) ?? {}
  }
}
