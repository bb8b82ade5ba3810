import { askPeer } from '../../api/control-client.ts'
import { Collector } from '../../context-sharing/upkeep/collector.ts'
import { type ContextDetail, contextDetail, setPinned } from '../../context-sharing/history/context-detail.ts'
import { NO_COPIES } from '../../context-sharing/store/copies.ts'
import { DecisionLog } from '../../context-sharing/history/decisions.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { inPeerOrStore } from '../terminal/peer-or-store.ts'
import { columns, formatBytes, shortPeer, type Terminal } from '../terminal/terminal.ts'

/** `hearth context show`: the files of a context on this machine, and the decisions about it. */
export async function contextShowCommand(name: string, context: CommandContext): Promise<number> {
  const { terminal, signal } = context
  const detail = await inPeerOrStore(
    context,
    (access) => askPeer<ContextDetail>(access, pathOf(name), undefined, signal),
    (store) => Promise.resolve(contextDetail(store, store.resolve(name), [])),
  )
  if (terminal.isJson) terminal.print(JSON.stringify(detail))
  else printDetail(detail, terminal)
  return EXIT.ok
}

/** `hearth context pin` and `unpin`. */
export async function contextPinCommand(
  name: string,
  isPinned: boolean,
  context: CommandContext,
): Promise<number> {
  const { terminal, signal } = context
  const { contextId } = await inPeerOrStore(
    context,
    (access) => askPeer<ContextDetail>(access, `${pathOf(name)}/pin`, { isPinned }, signal),
    async (store) => {
      const contextId = store.resolve(name)
      await setPinned(store, contextId, isPinned)
      return { contextId }
    },
  )
  terminal.event({ event: isPinned ? 'context-pinned' : 'context-unpinned', contextId })
  terminal.note(isPinned ? `Pinned ${contextId}` : `Unpinned ${contextId}: it may be deleted to make room`)
  return EXIT.ok
}

/** `hearth context rm`. */
export async function contextRemoveCommand(
  name: string,
  force: boolean,
  context: CommandContext,
): Promise<number> {
  const { terminal, signal, clock, log } = context
  const { contextId } = await inPeerOrStore(
    context,
    (access) => askPeer<{ contextId: string }>(access, `${pathOf(name)}/remove`, { force }, signal),
    async (store) => {
      const contextId = store.resolve(name)
      const decisions = new DecisionLog(clock)
      const whyInUse = (): undefined => undefined
      // No peer runs here, so nobody can say who else has a copy.
      const collector = new Collector({ store, copies: NO_COPIES, whyInUse, decisions, clock, log })
      await collector.remove(contextId, { force })
      return { contextId }
    },
  )
  terminal.event({ event: 'context-removed', contextId })
  terminal.note(`Deleted ${contextId}`)
  return EXIT.ok
}

/** The control path of a context; its name may contain slashes. */
export function pathOf(name: string): string {
  return `/v0/contexts/${encodeURIComponent(name)}`
}

function printDetail(detail: ContextDetail, terminal: Terminal): void {
  const { tier, runtime } = detail
  const state = tier.kind === 'partial' ? `partial ${Math.floor(tier.share * 100)} %` : tier.kind
  terminal.print(`context   ${detail.contextId}`)
  terminal.print(`names     ${detail.names.join(', ') || '-'}`)
  terminal.print(`here      ${state}, ${formatBytes(detail.bytes)}${detail.isPinned ? ', pinned' : ''}`)
  terminal.print(`runs with ${runtime.engine}, ${runtime.format} ${runtime.dtype}, from ${runtime.entry}`)
  const files = detail.fileDetails.map(({ path, class: kind, bytes, heldBytes }) => [
    path,
    kind,
    formatBytes(bytes),
    heldBytes === bytes ? 'here' : `${formatBytes(heldBytes)} here`,
  ])
  for (const line of columns([['FILE', 'CLASS', 'SIZE', 'STATE'], ...files])) terminal.print(line)
  const decisions = detail.decisions.map(({ atMs, by, code, peer, words }) => [
    timeOf(atMs),
    by,
    code,
    peer === undefined ? '-' : shortPeer(peer),
    words,
  ])
  if (decisions.length === 0) return terminal.print('No decisions since this peer started')
  for (const line of columns([['TIME', 'BY', 'DECISION', 'PEER', 'WHY'], ...decisions])) terminal.print(line)
}

function timeOf(wallMs: number): string {
  return new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' }).format(wallMs)
}
