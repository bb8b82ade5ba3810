// A peer inside another program: what a program starts, asks and stops.
import { resolve } from 'node:path'
import { silentLogger, type Logger } from '../../base/log/logger.ts'
import { systemClock } from '../../base/system-clock.ts'
import { systemRandom } from '../../base/system-random.ts'
import type { ImportOptions, ImportResult } from '../../context-sharing/store/context-store.ts'
import type { DrainOptions, DrainReport } from '../contexts/departure.ts'
import { DataFolder } from '../home/data-folder.ts'
import { Peer } from '../peer.ts'
import type { ServingPeerOptions } from '../serving.ts'
import type { PeerStatus, PeerSummary } from '../status/peer-status.ts'
import { whileHeld } from './held-process.ts'

/** Loopback, on a port of the system's choice: only this machine reaches the peer. */
const LISTEN = ['/ip4/127.0.0.1/tcp/0']

/** How a peer starts. Everything but the folder has a default, as for `hearth up`. */
export interface EmbeddedPeerOptions extends Partial<Omit<ServingPeerOptions, 'data'>> {
  /** Holds the peer's identity, contexts and jobs. Made when absent; one running peer per folder. */
  dataFolder: string
  /** Gets the peer's log; pino satisfies it. Default: nothing is logged. */
  log?: Logger
}

/** A running peer that serves, and through which jobs can reach its swarm. `startPeer` makes one. */
export class EmbeddedPeer {
  readonly #peer: Peer
  readonly #unlock: () => void

  constructor(peer: Peer, unlock: () => void) {
    this.#peer = peer
    this.#unlock = unlock
  }

  get peerId(): string {
    return this.#peer.peerId
  }

  /** Multiaddrs where others reach it: their `bootstrap`. */
  get addresses(): string[] {
    return this.#peer.addresses
  }

  /** The id of its swarm, as hex: `swarm` of those who join. */
  get swarm(): string {
    return this.#peer.swarm
  }

  /** Resolves once the peer is in its swarm's DHT. Throws `no-peers` when no bootstrap peer answers in time. */
  async joined(signal?: AbortSignal): Promise<void> {
    await this.#peer.joined(signal)
  }

  /**
   * Imports a model folder in Hugging Face's ONNX layout, and advertises it as a context. Throws
   * `context-invalid` for a folder that Hearth cannot use, `disk-full` when the store has no room.
   */
  async addContext(folder: string, options: ImportOptions = {}): Promise<ImportResult> {
    return await this.#peer.addContext(resolve(folder), options)
  }

  /** The same as `hearth status` shows. */
  status(): PeerStatus {
    return this.#peer.status()
  }

  /** The other members of the swarm, as their adverts describe them. */
  async peers(): Promise<PeerSummary[]> {
    return await this.#peer.peers()
  }

  /** Takes work or pauses, also at its next starts. A paused peer returns its requests and unloads its contexts. */
  setAccepting(accepts: boolean): void {
    this.#peer.setPaused(!accepts)
  }

  /** Shuts down cleanly: returns unstarted requests, copies contexts that only it has. `stop()` comes after. */
  async drain(options: DrainOptions): Promise<DrainReport> {
    return await whileHeld(this.#peer.drain(options))
  }

  /** Stops at once and frees the data folder; others run again what it had not answered. */
  async stop(): Promise<void> {
    await whileHeld(this.#peer.stop()).finally(this.#unlock)
  }
}

/**
 * Starts a peer that serves; joining its swarm goes on in the background. Throws `data-in-use` when a
 * peer already runs on the folder, `config-invalid` when the folder cannot be used, `swarm-mismatch`
 * and `peer-unreachable` for a bootstrap peer of another swarm or that is not there.
 */
export async function startPeer(options: EmbeddedPeerOptions): Promise<EmbeddedPeer> {
  const { dataFolder, log = silentLogger, ...rest } = options
  const data = new DataFolder(resolve(dataFolder))
  const components = { clock: systemClock, random: systemRandom, log }
  const unlock = data.lock()
  try {
    const peer = await Peer.createServing(components, {
      listen: LISTEN,
      bootstrap: [],
      engine: {},
      ...rest,
      data,
    })
    await peer.start()
    return new EmbeddedPeer(peer, unlock)
  } catch (error) {
    unlock()
    throw error
  }
}
