import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Loopback alone, also for multicast, and a resolver on it instead of the machine's. */
const ENTER = `
  ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo || exit 3
  mount --bind "$1/resolv.conf" /etc/resolv.conf || exit 4
  if [ -e /etc/nsswitch.conf ]; then mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf || exit 4; fi
  shift
  exec "$@"
`

/** A command line that runs another one without any network but loopback. */
export function inNamespace(folder: string, command: readonly string[]): string[] {
  writeFileSync(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
  writeFileSync(join(folder, 'nsswitch.conf'), 'hosts: files dns\n')
  return ['unshare', '--map-root-user', '--net', '--mount', 'sh', '-c', ENTER, 'sh', folder, ...command]
}

/** Why this machine lets nobody make such a namespace, if it does not. */
export function whyNoNamespace(folder: string): string | undefined {
  const [command = '', ...parameters] = inNamespace(folder, ['true'])
  const { status, stderr, error } = spawnSync(command, parameters, { encoding: 'utf8' })
  if (status === 0) return undefined
  return `needs unshare, ip and mount in a user namespace: ${error?.message ?? stderr.trim()}`
}
