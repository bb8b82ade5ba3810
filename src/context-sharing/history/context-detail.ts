import { HearthError } from '../../base/errors.ts'
import type { ContextEntry } from '../store/context-entry.ts'
import type { ContextStore } from '../store/context-store.ts'
import type { DatedDecision } from './decisions.ts'

/** A file of a context, and how much of it is here. */
export interface FileDetail {
  path: string
  class: string
  bytes: number
  heldBytes: number
}

/** Everything that this machine knows about one context. */
export interface ContextDetail extends ContextEntry {
  fileDetails: FileDetail[]
  /** Decisions about it since this peer started, in order. */
  decisions: DatedDecision[]
}

/** Throws `context-unknown` when this peer has no part of the context and no decision about it. */
export function contextDetail(
  store: ContextStore,
  contextId: string,
  decisions: DatedDecision[],
): ContextDetail {
  const entry = store.entry(contextId)
  const context = store.held(contextId)
  if (entry === undefined || context === undefined) {
    throw new HearthError(
      'context-unknown',
      `this peer has no part of ${contextId}: fetch it with "hearth context get ${contextId}"`,
    )
  }
  const heldBytes = context.heldFiles()
  const keys = context.gridKeys()
  const fileDetails = context.manifest.files.map((file, number) => ({
    path: file.path,
    class: file.class,
    bytes: file.size,
    heldBytes: heldBytes.get(keys[number] ?? '') ?? 0,
  }))
  return { ...entry, fileDetails, decisions }
}

/** Pins or unpins a context. Throws `context-unknown` when this peer has no part of it. */
export async function setPinned(store: ContextStore, contextId: string, isPinned: boolean): Promise<void> {
  if (store.entry(contextId) === undefined) {
    throw new HearthError(
      'context-unknown',
      `${contextId} cannot be pinned, because this peer has no part of it: fetch it with "hearth context get ${contextId}" first`,
    )
  }
  await store.memory.setPinned(contextId, isPinned)
}
