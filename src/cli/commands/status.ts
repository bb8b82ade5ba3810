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

/** `hearth status`: what the peer of this data folder stores and runs, and why it is idle. */
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
      tasks.accepts
        ? 'This peer takes work.'
        : 'Paused: this peer takes no work until you run "hearth resume"',
    )
  return EXIT.ok
}

/** How to reach the running peer. Throws `peer-unreachable` when none was ever started here. */
export function requireControl(access: ControlAccess | undefined): ControlAccess {
  if (access !== undefined) return access
  throw new HearthError('peer-unreachable', 'No peer runs on this data folder. Start one with "hearth up"')
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
      ? `working   ${tasks.running} requests running for ${tasks.sessions.length} jobs, ${tasks.completed} done`
      : `idle      ${status.idle.words} (${status.idle.code}); ${tasks.completed} requests done so far`,
  )
  terminal.print(`disk      ${storeLine(status.store)}`)
  terminal.print(`jobs      ${jobsLine(status.store)}`)
  for (const line of contextLines(status.contexts)) terminal.print(line)
  for (const line of copiesLines(status)) terminal.print(line)
}

/** "3.3 MiB of 20.0 GiB used, 3.3 MiB pinned; 51.2 GiB free (1.0 GiB always kept free)" */
function storeLine({ usedBytes, quotaBytes, pinnedBytes, freeBytes, keepFreeBytes }: StoreStatus): string {
  const pinned = pinnedBytes === 0 ? 'nothing' : formatBytes(pinnedBytes)
  return `${formatBytes(usedBytes)} of ${formatBytes(quotaBytes)} used, ${pinned} pinned; ${formatBytes(freeBytes)} free (${formatBytes(keepFreeBytes)} always kept free)`
}

/** "12 of them use 3.1 MiB; finished ones are removed after 30 days (--keep-jobs)" */
function jobsLine({ jobs: { count, bytes, keepDays } }: StoreStatus): string {
  const kept = keepDays === null ? 'are kept for ever' : `are removed after ${keepDays} days`
  return `${count} of them use ${formatBytes(bytes)}; finished ones ${kept} (--keep-jobs)`
}

const TAKES_WORDS = {
  any: 'of any model that lacks copies',
  last: 'only of models that might otherwise be lost',
  none: 'none',
} as const

/** How many copies of each context this peer knows of, and what it does to reach the wanted number. */
function copiesLines({ replication, contexts }: PeerStatus): string[] {
  const names = new Map(contexts.map(({ contextId, names }) => [contextId, names[0]]))
  const rows = replication.contexts.map(({ contextId, copies, wanted, graced, making, code }) => [
    names.get(contextId) ?? shortPeer(contextId),
    `${copies} of ${wanted}`,
    [graced > 0 ? `${graced} offline` : '', making > 0 ? `${making} being copied` : '']
      .filter(Boolean)
      .join(', '),
    code === undefined ? '' : DECISION_CODES[code],
  ])
  const head = `spare copies: ${TAKES_WORDS[replication.takes]}`
  return rows.length === 0 ? [head] : [head, ...columns([['CONTEXT', 'COPIES', '', ''], ...rows])]
}

/** Contexts as a table. */
export function contextLines(contexts: readonly ContextStatus[]): string[] {
  if (contexts.length === 0) return ['No contexts. Import one with "hearth context add FOLDER --name NAME"']
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
    terminal.print(
      'No other peer is connected. On another machine, run the "hearth up --bootstrap …" command that "hearth up" printed here',
    )
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
