import { askPeer } from '../../api/control-client.ts'
import { HearthError } from '../../base/errors.ts'
import { DECISION_CODES } from '../../context-sharing/history/decisions.ts'
import type { Device } from '../../inference/device/device-choice.ts'
import type { ControlAccess } from '../../node/home/data-folder.ts'
import type {
  ContextStatus,
  PeerReport,
  PeerStatus,
  PeerSummary,
  StoreStatus,
} from '../../node/status/peer-status.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { columns, formatBytes, formatDuration, shortPeer, type Terminal } from '../terminal/terminal.ts'

/** `hearth status`: what the peer of this data folder is, has and does, and why when it does nothing. */
export async function statusCommand({ terminal, data, signal }: CommandContext): Promise<number> {
  const status = await askPeer<PeerReport>(requireControl(data.control()), '/v0/status', undefined, signal)
  if (terminal.isJson) terminal.print(JSON.stringify(status))
  else printStatus(status, terminal)
  return EXIT.ok
}

/** `hearth peers`: the other peers of the swarm, and what they offer. */
export async function peersCommand({ terminal, data, signal }: CommandContext): Promise<number> {
  const peers = await askPeer<PeerSummary[]>(requireControl(data.control()), '/v0/peers', undefined, signal)
  if (terminal.isJson) terminal.print(JSON.stringify(peers))
  else printPeers(peers, terminal)
  return EXIT.ok
}

/** `hearth pause` and `hearth resume`: whether this peer takes work. */
export async function servingCommand(
  accepts: boolean,
  { terminal, data, signal }: CommandContext,
): Promise<number> {
  const tasks = await askPeer<PeerStatus['tasks']>(
    requireControl(data.control()),
    '/v0/serving',
    { accepts },
    signal,
  )
  if (terminal.isJson) terminal.print(JSON.stringify(tasks))
  else
    terminal.print(
      tasks.accepts ? 'this peer takes work' : 'paused: this peer takes no work until "hearth resume"',
    )
  return EXIT.ok
}

/** How to reach the running peer. Throws `peer-unreachable` when none was ever started here. */
export function requireControl(access: ControlAccess | undefined): ControlAccess {
  if (access !== undefined) return access
  throw new HearthError('peer-unreachable', 'no peer runs on this data folder; start one with "hearth up"')
}

function printStatus(status: PeerReport, terminal: Terminal): void {
  const { tasks } = status
  terminal.print(`peer      ${status.peerId}`)
  terminal.print(`swarm     ${status.swarm}`)
  for (const address of status.addresses) terminal.print(`listens   ${address}`)
  terminal.print(`up for    ${formatDuration(status.uptimeMs)}, connected to ${status.connectedPeers} peers`)
  terminal.print(`runs on   ${deviceLine(status.device)}`)
  for (const { provider, why } of status.devicesNotUsed)
    terminal.print(`not used  ${provider}: ${why.trim()}`)
  terminal.print(
    status.idle === undefined
      ? `working   ${tasks.running} requests in hand for ${tasks.sessions.length} jobs, ${tasks.completed} done`
      : `idle      ${status.idle.words} (${status.idle.code}); ${tasks.completed} requests done so far`,
  )
  terminal.print(`stores    ${storeLine(status.store)}`)
  for (const line of contextLines(status.contexts)) terminal.print(line)
  for (const line of copiesLines(status)) terminal.print(line)
}

/** "3.3 MiB of 20.0 GiB (3.3 MiB pinned); 51.2 GiB of the disk are free, 1.0 GiB stay so" */
function storeLine({ usedBytes, quotaBytes, pinnedBytes, freeBytes, keepFreeBytes }: StoreStatus): string {
  const pinned = pinnedBytes === 0 ? 'nothing' : formatBytes(pinnedBytes)
  return `${formatBytes(usedBytes)} of ${formatBytes(quotaBytes)} (${pinned} pinned); ${formatBytes(freeBytes)} of the disk are free, ${formatBytes(keepFreeBytes)} stay so`
}

const TAKES_WORDS = {
  any: 'takes any',
  last: 'takes only what may be lost otherwise',
  none: 'takes none',
} as const

/** How many copies of each context the swarm has, as far as this peer knows, and what it does about it. */
function copiesLines({ replication, contexts }: PeerStatus): string[] {
  const names = new Map(contexts.map(({ contextId, names }) => [contextId, names[0]]))
  const rows = replication.contexts.map(({ contextId, copies, wanted, graced, making, code }) => [
    names.get(contextId) ?? shortPeer(contextId),
    `${copies} of ${wanted}`,
    [graced > 0 ? `${graced} away` : '', making > 0 ? `${making} in the making` : '']
      .filter(Boolean)
      .join(', '),
    code === undefined ? '' : DECISION_CODES[code],
  ])
  const head = `spare copies: this peer ${TAKES_WORDS[replication.takes]}`
  return rows.length === 0 ? [head] : [head, ...columns([['CONTEXT', 'COPIES', '', ''], ...rows])]
}

/** Contexts as a table. */
export function contextLines(contexts: readonly ContextStatus[]): string[] {
  if (contexts.length === 0) return ['no contexts; "hearth context add DIR --name NAME" imports one']
  const rows = contexts.map((context) => [
    context.names.join(',') || '-',
    tierWords(context),
    formatBytes(context.bytes),
    context.engine === undefined
      ? '-'
      : `${context.engine}${context.provider === undefined ? '' : ` on ${context.provider}`}`,
    context.tokensPerSecond === undefined ? '-' : Math.round(context.tokensPerSecond).toString(),
    context.contextId,
  ])
  return columns([['NAME', 'TIER', 'SIZE', 'ENGINE', 'TOKENS/S', 'CID'], ...rows])
}

function tierWords({ tier, share, isPinned }: ContextStatus): string {
  const words = tier === 'partial' ? `partial ${Math.floor(share * 100)} %` : tier
  return isPinned ? `${words}, pinned` : words
}

function deviceLine({ kind, name, provider, memoryBytes }: Device): string {
  return `${name}${kind === 'cpu' ? '' : ` through ${provider}`}, ${formatBytes(memoryBytes)}`
}

/** "facts (warm, 812 tokens/s)" */
function contextWords({ name, contextId, tier, tokensPerSecond }: PeerSummary['contexts'][number]): string {
  const rate = tokensPerSecond === undefined ? '' : `, ${Math.round(tokensPerSecond)} tokens/s`
  return `${name === '' ? contextId : name} (${tier}${rate})`
}

function printPeers(peers: readonly PeerSummary[], terminal: Terminal): void {
  if (peers.length === 0) {
    terminal.print('no other peer is connected; others join with the line that "hearth up" printed')
    return
  }
  const rows = peers.map((peer) => [
    shortPeer(peer.peerId),
    peer.accepts ? 'takes work' : (peer.reason ?? 'takes no work'),
    `${peer.slots} slots`,
    `${peer.device.name}, ${formatBytes(peer.device.memoryBytes)}`,
    peer.contexts.map(contextWords).join(', ') || '-',
  ])
  for (const line of columns([['PEER', 'STATE', 'SLOTS', 'DEVICE', 'CONTEXTS'], ...rows]))
    terminal.print(line)
}
