// Shared parts of the context-sharing tests: model folders, stores, peers over libp2p on loopback,
// and holders that misbehave.
import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { silentLogger } from '../src/base/log/logger.ts'
import type { Logger } from '../src/base/log/logger.ts'
import type { MessageStream } from '../src/base/stream/message-stream.ts'
import type { Network } from '../src/base/stream/network.ts'
import { seededRandom } from '../src/base/random.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { Bitfield } from '../src/context-sharing/content/bitfield.ts'
import { ContextSharing } from '../src/context-sharing/context-sharing.ts'
import type { ContextSharingOptions } from '../src/context-sharing/context-sharing.ts'
import { ContextStore } from '../src/context-sharing/store/context-store.ts'
import type { ContextStoreComponents } from '../src/context-sharing/store/context-store.ts'
import { DecisionLog } from '../src/context-sharing/history/decisions.ts'
import type { HeldContext } from '../src/context-sharing/store/held-context.ts'
import { CONTEXT_PROTOCOL, fetcherMessageSchema } from '../src/context-sharing/wire/messages.ts'
import type { FetcherMessage } from '../src/context-sharing/wire/messages.ts'
import { type BareNode, introduceNodes, startBareNode } from './libp2p-pair.ts'
import { newFolder } from './folders/new-folder.ts'

/** Undoes in reverse order what a test made. */
export class Closers {
  #closers: (() => Promise<unknown>)[] = []

  add(close: () => Promise<unknown>): void {
    this.#closers.push(close)
  }

  async run(): Promise<void> {
    for (const close of this.#closers.splice(0).toReversed()) await close()
  }

  async temporaryFolder(): Promise<string> {
    const folder = newFolder('context')
    this.add(() => rm(folder, { recursive: true, force: true }))
    return folder
  }
}

/** Bytes that no other seed gives, and that do not compress into equal chunks. */
export function bytesFor(seed: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let from = 0, block = 0; from < length; from += 32, block += 1) {
    const hash = createHash('sha256').update(`${seed} ${block}`).digest()
    bytes.set(hash.subarray(0, Math.min(32, length - from)), from)
  }
  return bytes
}

const repeated = new Map<string, Uint8Array>()

/** As `bytesFor`, quickly: one block of it per chunk, numbered, so that all chunks differ. */
export function modelBytes(seed: string, length: number): Uint8Array {
  const block = repeated.get(seed) ?? bytesFor(seed, 4096)
  repeated.set(seed, block)
  const bytes = new Uint8Array(length)
  for (let from = 0; from < length; from += block.byteLength) {
    bytes.set(block.subarray(0, Math.min(block.byteLength, length - from)), from)
    if (from + 4 <= length) new DataView(bytes.buffer).setUint32(from, from)
  }
  return bytes
}

export async function writeFiles(
  folder: string,
  files: Record<string, Uint8Array | string>,
): Promise<string> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
  return folder
}

/** A model folder as Hugging Face has them. */
export function modelFiles(seed: string, weightBytes: number): Record<string, Uint8Array | string> {
  return {
    'onnx/model.onnx': modelBytes(`${seed} graph`, 5000),
    'onnx/model.onnx_data': modelBytes(seed, weightBytes),
    'tokenizer.json': '{"version":"1.0"}',
    'config.json': '{"model_type":"test"}',
    'README.md': `about ${seed}`,
  }
}

/** Puts a model into a peer's store as it is: its bytes need be no model that an engine could open. */
export async function importUntried(contextsPath: string, model: string, name: string): Promise<string> {
  const store = new ContextStore({ clock: systemClock, log: silentLogger }, { folder: contextsPath })
  await store.open()
  try {
    return (await store.import(model, { name })).contextId
  } finally {
    await store.close()
  }
}

export async function openStore(
  closers: Closers,
  components: Partial<ContextStoreComponents> = {},
  folder?: string,
): Promise<ContextStore> {
  const store = new ContextStore(
    { clock: systemClock, log: silentLogger, ...components },
    { folder: folder ?? join(await closers.temporaryFolder(), 'contexts'), keepFree: { bytes: 0 } },
  )
  await store.open()
  closers.add(() => store.close())
  return store
}

export interface SharingPeer {
  id: string
  node: BareNode
  store: ContextStore
  sharing: ContextSharing
  decisions: DecisionLog
  /** Peers that its next look for holders finds. */
  holders: string[]
  /** The same for one context alone. */
  holdersOf: Map<string, string[]>
  /** Contexts of which files were found damaged, once per time. */
  damaged: string[]
}

let seeds = 100

/** Peers that can dial one another, each with an empty store; a store given is used for the first. */
export async function startPeers(
  closers: Closers,
  count: number,
  options: ContextSharingOptions & {
    log?: Logger
    stores?: ContextStore[]
    /** Wraps the network for a peer, by its number. */
    wrap?: (network: Network, index: number) => Network
  } = {},
): Promise<SharingPeer[]> {
  const { log = silentLogger, stores = [], wrap, ...sharingOptions } = options
  const peers = await Promise.all(
    Array.from({ length: count }, async (_value, index) => {
      const node = await startBareNode()
      closers.add(() => node.stop())
      const store = stores[index] ?? (await openStore(closers))
      const peer: Omit<SharingPeer, 'sharing'> = {
        id: node.network.self,
        node,
        store,
        holders: [],
        holdersOf: new Map(),
        damaged: [],
        decisions: new DecisionLog(systemClock),
      }
      const sharing = new ContextSharing(
        {
          network: wrap?.(node.network, index) ?? node.network,
          store,
          findHolders: async (contextId) => peer.holdersOf.get(contextId) ?? peer.holders,
          clock: systemClock,
          random: seededRandom((seeds += 1)),
          log,
          decisions: peer.decisions,
          onDamaged: (contextId) => peer.damaged.push(contextId),
        },
        { unavailableAfterMs: 5000, ...sharingOptions },
      )
      await sharing.start()
      closers.add(() => sharing.stop())
      return Object.assign(peer, { sharing })
    }),
  )
  await introduceNodes(peers.map(({ node }) => node))
  return peers
}

/** The behaviour of a holder under test, in place of honest serving. */
export interface HolderBehaviour {
  /** Chunks that it says it has; all of them by default. */
  has?: (map: { count: number }) => Iterable<number>
  onOpen?: (stream: MessageStream, context: HeldContext) => Promise<'go on' | 'done'>
  onManifestRequest?: (stream: MessageStream, context: HeldContext) => Promise<void>
  onRequest?: (stream: MessageStream, chunk: number, context: HeldContext) => Promise<void>
}

export interface ScriptedHolder {
  id: string
  node: BareNode
  opened: number
  /** The priority of each opened stream. */
  priorities: string[]
  requested: number[]
}

export const WAIT: { deadlineMs: number } = { deadlineMs: 10_000 }

/** Sends a chunk as an honest holder does. */
export async function sendChunk(stream: MessageStream, chunk: number, bytes: Uint8Array): Promise<void> {
  await stream.send({ type: 'data', chunk, bytes: bytes.byteLength }, WAIT)
  await stream.sendBytes(bytes, WAIT)
}

export async function honestChunk(context: HeldContext, chunk: number): Promise<Uint8Array> {
  const bytes = await context.read(chunk)
  if (bytes === undefined) throw new Error(`chunk ${chunk} is not held`)
  return bytes
}

/** A peer that speaks the protocol by a script, with the bytes of `context`. */
export async function startHolder(
  closers: Closers,
  context: HeldContext,
  behaviour: HolderBehaviour,
): Promise<ScriptedHolder> {
  const node = await startBareNode()
  closers.add(() => node.stop())
  const holder: ScriptedHolder = { id: node.network.self, node, opened: 0, priorities: [], requested: [] }
  await node.network.handle(CONTEXT_PROTOCOL, async (stream) => {
    holder.opened += 1
    const open = await stream.receive(fetcherMessageSchema, WAIT)
    if (open?.type === 'open') holder.priorities.push(open.priority)
    if ((await behaviour.onOpen?.(stream, context)) === 'done') return
    const has = new Bitfield(context.map.count)
    for (const chunk of behaviour.has?.(context.map) ?? Bitfield.full(context.map.count)) has.add(chunk)
    await stream.send({ type: 'holding', chunks: context.map.count, bitfield: has.toBytes() }, WAIT)
    for (;;) {
      const message = await stream.receive(fetcherMessageSchema, { deadlineMs: 60_000 })
      if (message === undefined) return
      await answer(stream, message, context, { behaviour, holder })
    }
  })
  return holder
}

async function answer(
  stream: MessageStream,
  message: FetcherMessage,
  context: HeldContext,
  { behaviour, holder }: { behaviour: HolderBehaviour; holder: ScriptedHolder },
): Promise<void> {
  if (message.type === 'manifest-request') {
    if (behaviour.onManifestRequest !== undefined) return await behaviour.onManifestRequest(stream, context)
    await stream.send({ type: 'manifest', bytes: context.manifestBytes.byteLength }, WAIT)
    return await stream.sendBytes(context.manifestBytes, WAIT)
  }
  if (message.type !== 'request') return
  for (const chunk of message.chunks) {
    holder.requested.push(chunk)
    if (behaviour.onRequest !== undefined) await behaviour.onRequest(stream, chunk, context)
    else await sendChunk(stream, chunk, await honestChunk(context, chunk))
  }
}

/** The hash of every file of a stored context, as it is under the context's folder. */
export async function storedFiles(store: ContextStore, contextId: string): Promise<Record<string, string>> {
  const files = store.held(contextId)?.manifest.files ?? []
  const folder = store.folder(contextId)
  return Object.fromEntries(
    await Promise.all(
      files.map(async ({ path }) => {
        const bytes = await readFile(join(folder, path))
        return [path, createHash('sha256').update(bytes).digest('hex')] as const
      }),
    ),
  )
}
