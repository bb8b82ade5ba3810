import { askPeer } from '../../api/control-client.ts'
import { HearthError, isHearthError } from '../../base/errors.ts'
import type { RememberedPeer } from '../../dht/join/remembered-peers.ts'
import type { DataFolder } from '../../node/home/data-folder.ts'
import type { PeerStatus } from '../../node/status/peer-status.ts'
import type { CommandContext } from './command-context.ts'

/** Where a swarm is: multiaddrs of some of its peers, and its id when it need not be asked for. */
export interface SwarmPlace {
  bootstrap: string[]
  swarm?: string | undefined
}

/** A command joins through so many of the remembered peers, the latest seen first. */
const PEERS_TRIED_MAX = 16

/**
 * The bootstrap addresses given, or those of the peer that runs on this machine's data folder, or those that
 * the folder remembers from earlier; says on stderr which, unless they were given. Throws `no-peers`.
 */
export async function findSwarm(
  options: { bootstrap: string[]; swarm?: string },
  { data, signal, terminal }: Pick<CommandContext, 'data' | 'signal' | 'terminal'>,
): Promise<SwarmPlace> {
  if (options.bootstrap.length > 0) return { bootstrap: options.bootstrap, swarm: options.swarm }
  const running = await ofRunningPeer(data, signal)
  if (running !== undefined) {
    terminal.note(`Swarm ${running.swarm}, through the peer that runs on this machine`)
    return running
  }
  const remembered = rememberedSwarm(data, options.swarm)
  if (remembered !== undefined) {
    terminal.note(
      `Swarm ${remembered.swarm}, as remembered in ${data.path}. To use another, give --bootstrap ADDRESS`,
    )
    return remembered
  }
  throw new HearthError(
    'no-peers',
    `No peer runs on this machine and ${data.path} remembers none, so the swarm is unknown. Start a peer with "hearth up", or give --bootstrap ADDRESS as another "hearth up" printed it`,
  )
}

/** Keeps the swarm that a command was on for the next; does nothing while a peer runs on the folder. */
export function rememberVisit(data: DataFolder, swarm: string, peers: readonly RememberedPeer[]): void {
  if (peers.length === 0) return
  let unlock: () => void
  try {
    unlock = data.lock()
  } catch (error) {
    if (isHearthError(error, 'data-in-use')) return
    throw error
  }
  try {
    data.remember({ visited: { swarm, peers: peers.slice(0, PEERS_TRIED_MAX) } })
  } finally {
    unlock()
  }
}

async function ofRunningPeer(data: DataFolder, signal: AbortSignal): Promise<SwarmPlace | undefined> {
  const access = data.control()
  if (access === undefined) return undefined
  try {
    const status = await askPeer<PeerStatus>(access, '/v0/status', undefined, signal)
    return { bootstrap: status.addresses, swarm: status.swarm }
  } catch (error) {
    signal.throwIfAborted()
    if (!isHearthError(error, 'peer-unreachable')) throw error
    return undefined
  }
}

/** The swarm of the peer whose folder this is, else the one that a command visited last. */
function rememberedSwarm(data: DataFolder, wanted: string | undefined): SwarmPlace | undefined {
  const { swarm, peers = [], visited } = data.memory()
  const places = [{ swarm, peers }, ...(visited === undefined ? [] : [visited])]
  const place = places.find((one) => one.peers.length > 0 && (wanted ?? one.swarm) === one.swarm)
  if (place === undefined) return undefined
  const bootstrap = place.peers
    .toSorted((a, b) => b.lastSeenMs - a.lastSeenMs)
    .slice(0, PEERS_TRIED_MAX)
    .flatMap(({ peer, addresses }) => addresses.map((address) => `${address}/p2p/${peer}`))
  return { swarm: place.swarm, bootstrap }
}
