import type { PeerInfo } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'
import { HearthError, messageOf } from '../../base/errors.ts'

/** Whether an address reaches only this machine: 127.0.0.0/8, ::1 or a localhost name. */
function isLoopback(address: Multiaddr): boolean {
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

/** Hosts tried for one direct lane: a peer on several networks is on one of ours, if on any. */
const HOSTS_TRIED_MAX = 3

/** The hosts in `addresses` that are dialled without a relay, each once, in their order. */
export function dialableHosts(addresses: readonly Multiaddr[]): string[] {
  const hosts = addresses.flatMap((address) => {
    const [host, port, ...rest] = address.getComponents()
    const isDirect = port?.name === 'tcp' && rest.every(({ name }) => name !== 'p2p-circuit')
    return isDirect && host?.value !== undefined ? [host.value] : []
  })
  return [...new Set(hosts)].slice(0, HOSTS_TRIED_MAX)
}

/** The host of the first TCP address to listen on; undefined when there is none. */
export function hostToListenOn(addresses: readonly string[]): string | undefined {
  return dialableHosts(addresses.map(parseAddress))[0]
}

/** Throws `config-invalid` for text that is not a multiaddr. */
export function parseAddress(address: string): Multiaddr {
  try {
    return multiaddr(address)
  } catch (cause) {
    throw new HearthError(
      'config-invalid',
      `${JSON.stringify(address)} is not a multiaddr: ${messageOf(cause)}. Give an address such as /ip4/192.168.1.7/tcp/4001/p2p/12D3…`,
      { data: { address }, cause },
    )
  }
}
