import type { ProtocolName } from '../../base/stream/network.ts'
import { HearthError } from '../../base/errors.ts'

/**
 * Served by every peer from before it listens: its presence in the list of identify says which swarm
 * a peer belongs to, and a stream of it says that the connection it came on is for bulk.
 */
export const LANE_PROTOCOL: ProtocolName = 'lane/1'

const SWARM_PATTERN = /^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/
const LANE_ID_PATTERN = /^\/hearth\/([^/]{1,64})\/lane\/1$/

/** The full libp2p protocol id of `name` in `swarm`. */
export function protocolId(swarm: string, name: ProtocolName): string {
  return `/hearth/${swarm}/${name}`
}

/** The DHT's protocol id in `swarm`: peers of other swarms are not even asked. */
export function kademliaId(swarm: string): string {
  return `/hearth/${swarm}/kad/1`
}

/** The swarm of a peer that lists `protocols` in identify; undefined when it is not a Hearth peer. */
export function swarmOf(protocols: readonly string[]): string | undefined {
  for (const protocol of protocols) {
    const swarm = LANE_ID_PATTERN.exec(protocol)?.[1]
    if (swarm !== undefined && SWARM_PATTERN.test(swarm)) return swarm
  }
  return undefined
}

/** Throws `config-invalid` unless `swarm` can be part of a protocol name. */
export function requireSwarmId(swarm: string): string {
  if (SWARM_PATTERN.test(swarm)) return swarm
  throw new HearthError(
    'config-invalid',
    `a swarm id is 1 to 64 letters, digits, dots, dashes and underscores, and starts with a letter or digit; got ${JSON.stringify(swarm)}`,
    { data: { swarm } },
  )
}

/** The error for a peer that lives in another swarm, or in none. */
export function swarmMismatch(peer: string, ours: string, theirs: string | undefined): HearthError {
  const text =
    theirs === undefined
      ? 'is not a Hearth peer. Check the --bootstrap address'
      : `belongs to swarm ${theirs}, not to ours (${ours}). To join its swarm, give --swarm ${theirs}`
  return new HearthError('swarm-mismatch', `peer ${peer} ${text}`, { data: { peer, ours, theirs } })
}
