import { resolve } from 'node:path'
import { askPeer } from '../../api/control-client.ts'
import { requireName } from '../../context-sharing/store/context-names.ts'
import type { ContextEntry, ImportResult } from '../../context-sharing/store/context-store.ts'
import { isHubName } from '../../context-sharing/hub/hub-repo.ts'
import type { ContextStatus } from '../../node/status/peer-status.ts'
import type { CommandContext, CommonOptions } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { HubAdd, type HubAdded } from './hub-add.ts'
import { inPeerOrStore } from '../terminal/peer-or-store.ts'
import { contextLines } from './status.ts'
import { formatBytes } from '../terminal/terminal.ts'

export interface ContextAddOptions extends CommonOptions {
  name?: string
  dtype?: string
  alone?: boolean
}

/**
 * `hearth context add FOLDER` imports a model folder; `hearth context add hf:OWNER/NAME` downloads a model.
 * The running peer does it; without one, the command works on the store directly.
 */
export async function contextAddCommand(
  source: string,
  options: ContextAddOptions,
  context: CommandContext,
): Promise<number> {
  const { signal } = context
  if (options.name !== undefined) requireName(options.name)
  const importFolder = (folder: string): Promise<ImportResult> =>
    inPeerOrStore(
      context,
      (access) => askPeer<ImportResult>(access, '/v0/contexts', { folder, ...choice(options) }, signal),
      (store) => store.import(folder, { ...choice(options), signal }),
    )
  const result: ImportResult & Partial<HubAdded> = isHubName(source)
    ? await new HubAdd(source, options, context, importFolder).run()
    : await importFolder(resolve(source))
  printAdded(result, options, context)
  return EXIT.ok
}

function printAdded(
  result: ImportResult & Partial<HubAdded>,
  { name }: ContextAddOptions,
  { terminal }: CommandContext,
): void {
  terminal.event({ event: 'context-added', ...result, name: name ?? null })
  if (terminal.isJson) return
  const { commit, from } = result
  terminal.print(result.contextId)
  const named = name === undefined ? '' : `, named "${name}"`
  const origin = commit === undefined ? '' : `, commit ${commit.slice(0, 12)}`
  const source = from === 'peers' ? ', copied from peers and checked against the hub' : ''
  terminal.note(`${result.files} files, ${formatBytes(result.bytes)}${origin}${source}${named}`)
  const { entry, dtype, variants } = result
  const others = variants.filter((variant) => variant !== dtype)
  if (others.length > 0)
    terminal.note(`Chose ${entry} (${dtype}); --dtype takes another: ${others.join(', ')}`)
  if (result.leftOut.length > 0) terminal.note(`Not imported: ${result.leftOut.join(', ')}`)
}

/** `hearth context ls`: the contexts on this machine. */
export async function contextListCommand(context: CommandContext): Promise<number> {
  const { terminal, signal } = context
  const contexts = await inPeerOrStore(
    context,
    (access) => askPeer<ContextStatus[]>(access, '/v0/contexts', undefined, signal),
    (store) => Promise.resolve(store.list().map(statusOf)),
  )
  if (terminal.isJson) terminal.print(JSON.stringify(contexts))
  else for (const line of contextLines(contexts)) terminal.print(line)
  return EXIT.ok
}

function choice({ name, dtype }: ContextAddOptions): { name?: string; dtype?: string } {
  return { ...(name === undefined ? {} : { name }), ...(dtype === undefined ? {} : { dtype }) }
}

function statusOf(entry: ContextEntry): ContextStatus {
  return {
    contextId: entry.contextId,
    names: entry.names,
    tier: entry.tier.kind === 'stored' ? 'stored' : 'partial',
    share: entry.tier.kind === 'partial' ? entry.tier.share : 1,
    bytes: entry.bytes,
    isPinned: entry.isPinned,
    isFetching: false,
    isBusy: false,
    fetchedFrom: [],
    engine: undefined,
    provider: undefined,
    numericClass: undefined,
    slots: undefined,
  }
}
