import type { PeerInfo } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'
import { HearthError, messageOf } from '../base/errors.ts'

/** Whether an address reaches only this machine: 127.0.0.0/8, ::1 or a localhost name. */
export function isLoopback(address: Multiaddr): boolean {
  const host = address.getComponents()[0]
  if (host === undefined) return false
  if (host.name === 'ip4') return host.value?.startsWith('127.') === true
  if (host.name === 'ip6') return host.value === '::1'
  return host.name.startsWith('dns') && host.value === 'localhost'
}

/**
 * Loopback addresses mean nothing on another machine, where they lead to a stranger's port: they are
 * dropped when there are others. When loopback is all there is, the whole swarm is on one machine.
 */
export function dropLoopbackWhenOthersExist(addresses: Multiaddr[]): Multiaddr[] {
  const others = addresses.filter((address) => !isLoopback(address))
  return others.length > 0 ? others : addresses
}

/** kad-dht's filter for every peer that it hears or tells of. */
export function mapPeerInfo(peer: PeerInfo): PeerInfo {
  return { ...peer, multiaddrs: dropLoopbackWhenOthersExist(peer.multiaddrs) }
}

/** Whether other machines can reach what listens on `addresses`. */
export function listensBeyondLoopback(addresses: readonly string[]): boolean {
  return addresses.some((address) => !isLoopback(parseAddress(address)))
}

/** Throws `config-invalid` for text that is not a multiaddr. */
export function parseAddress(address: string): Multiaddr {
  try {
    return multiaddr(address)
  } catch (cause) {
    throw new HearthError(
      'config-invalid',
      `${JSON.stringify(address)} is not an address such as /ip4/192.168.1.7/tcp/4001/p2p/12D3…: ${messageOf(cause)}`,
      { data: { address }, cause },
    )
  }
}
