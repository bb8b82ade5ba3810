import { mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { z, type ZodType } from 'zod'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { RememberedPeersSchema, type RememberedPeer } from '../../dht/join/remembered-peers.ts'
import { lockForThisProcess } from '../../base/process-lock.ts'
import { asStorageError } from '../../base/storage-errors.ts'
import { readJson, writeJson } from './json-file.ts'

/** The facts that a peer keeps from one run to the next. */
export interface PeerMemory {
  /** The swarm that this data folder belongs to. */
  swarm?: string | undefined
  /** The TCP port it had last, so that the line others joined with stays true. */
  port?: number | undefined
  /** How many days finished jobs are kept. */
  keepJobsDays?: number | 'forever' | undefined
  /** Whether its owner paused it. */
  isPaused?: boolean | undefined
  /** Peers that were there last time. */
  peers?: RememberedPeer[] | undefined
  /** The swarm that a command was on last, without a peer of its own. */
  visited?: { swarm: string; peers: RememberedPeer[] } | undefined
}

/** How programs on this machine reach the running peer: a loopback port and the key it asks for. */
export interface ControlAccess {
  port: number
  key: string
}

/** How long a finished job is kept when the owner does not say, days. */
const KEEP_JOBS_DAYS = 30

const memorySchema: ZodType<PeerMemory> = z.object({
  swarm: z.string().optional(),
  port: z.number().int().min(1).max(65_535).optional(),
  keepJobsDays: z.union([z.number().positive(), z.literal('forever')]).optional(),
  isPaused: z.boolean().optional(),
  peers: RememberedPeersSchema.optional(),
  visited: z.object({ swarm: z.string(), peers: RememberedPeersSchema }).optional(),
})
const controlSchema: ZodType<ControlAccess> = z.object({ port: z.number().int(), key: z.string() })

/**
 * A peer's folder: identity key, memory, contexts, jobs. One running peer per folder; several peers
 * on one machine have a folder each. Files are 0600, folders 0700.
 */
export class DataFolder {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  get identityPath(): string {
    return join(this.path, 'identity.key')
  }

  /** The key that the machines of one owner share: docs/protocol/job.md. */
  get ownerPath(): string {
    return join(this.path, 'owner.key')
  }

  get contextsPath(): string {
    return join(this.path, 'contexts')
  }

  get jobsPath(): string {
    return join(this.path, 'jobs')
  }

  /** The log of decisions about contexts. */
  get decisionsPath(): string {
    return join(this.path, 'contexts.ndjson')
  }

  get #memoryPath(): string {
    return join(this.path, 'peer.json')
  }

  get #controlPath(): string {
    return join(this.path, 'control.json')
  }

  /** Makes the folder when there is none. Throws `data-inaccessible`, or `config-invalid` when it cannot be one. */
  create(): void {
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o700 })
    } catch (error) {
      const cause = asStorageError(error, this.path)
      if (isHearthError(cause)) throw cause
      throw new HearthError(
        'config-invalid',
        `Cannot use ${this.path} as the data folder: ${messageOf(cause)}. Choose another with --data FOLDER`,
        { cause },
      )
    }
  }

  /** Takes the folder for this process; throws `data-in-use` while another has it. */
  lock(): () => void {
    this.create()
    return lockForThisProcess(
      join(this.path, 'lock'),
      `Another Hearth process uses the data folder ${this.path}. Wait for it, or choose another folder with --data FOLDER`,
    )
  }

  memory(): PeerMemory {
    return readJson(this.#memoryPath, memorySchema) ?? {}
  }

  remember(change: PeerMemory): void {
    writeJson(this.#memoryPath, { ...this.memory(), ...change })
  }

  /** How many days finished jobs are kept; Infinity keeps them for ever. */
  get keepJobsDays(): number {
    const { keepJobsDays = KEEP_JOBS_DAYS } = this.memory()
    return keepJobsDays === 'forever' ? Number.POSITIVE_INFINITY : keepJobsDays
  }

  /** How to reach the peer that runs on this folder; undefined when none has published its address. */
  control(): ControlAccess | undefined {
    return readJson(this.#controlPath, controlSchema)
  }

  publishControl(access: ControlAccess): void {
    writeJson(this.#controlPath, access)
  }
}

/** `$XDG_DATA_HOME/hearth`, by default ~/.local/share/hearth. */
export function defaultDataPath(environment: NodeJS.ProcessEnv): string {
  const base = environment['XDG_DATA_HOME']
  return join(base !== undefined && base !== '' ? base : join(homedir(), '.local', 'share'), 'hearth')
}
