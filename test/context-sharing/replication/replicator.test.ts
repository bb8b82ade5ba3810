import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ZodType } from 'zod'
import { afterEach, describe, expect, it } from 'vitest'
import { type Logger, silentLogger } from '../../../src/base/log/logger.ts'
import { REPLICA_OFFERS_PER_MINUTE_MAX } from '../../../src/base/limits.ts'
import { decodeMessage, encodeMessage, readLengthPrefix } from '../../../src/base/stream/message-codec.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import type { ContextSharingOptions } from '../../../src/context-sharing/context-sharing.ts'
import type { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import { DecisionLog } from '../../../src/context-sharing/history/decisions.ts'
import { auditReplica } from '../../../src/context-sharing/replication/replica-audit.ts'
import {
  REPLICA_PROTOCOL,
  type ReplicaAnswer,
  type ReplicaOffer,
  replicaAnswerSchema,
  replicaOfferSchema,
} from '../../../src/context-sharing/replication/replica-messages.ts'
import {
  type ReplicationOptions,
  withGrace,
} from '../../../src/context-sharing/replication/core/replication.ts'
import type {
  OwnContext,
  ReplicaSwarm,
  SaidPeer,
} from '../../../src/context-sharing/replication/replica-view.ts'
import { Replicator } from '../../../src/context-sharing/replication/replicator.ts'
import { until } from '../../../testing/libp2p-swarm.ts'
import { positionOf } from '../../../testing/virtual/replication-world.ts'
import {
  Closers,
  type SharingPeer,
  WAIT,
  honestChunk,
  modelFiles,
  sendChunk,
  startHolder,
  startPeers,
  writeFiles,
} from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

const MIB = 1024 * 1024

/** What the log says of a fetch that is complete. */
interface Fetched {
  sources?: { peer: string; bytes: number }[]
}

/** Where peers say what they have, instead of adverts: every one hears of every change. */
class NoticeBoard {
  readonly #said = new Map<string, SaidPeer>()
  readonly #listeners = new Set<(said: SaidPeer) => void>()
  readonly #lost = new Set<(peer: string, heardMs: number) => void>()

  say(said: SaidPeer): void {
    this.#said.set(said.peer, said)
    for (const listener of this.#listeners) listener(said)
  }

  lose(peer: string): void {
    this.#said.delete(peer)
    for (const listener of this.#lost) listener(peer, systemClock.nowMs())
  }

  swarmOf(self: string): ReplicaSwarm {
    return {
      onPeer: (listener) => {
        const toOthers = (said: SaidPeer): void => {
          if (said.peer !== self) listener(said)
        }
        for (const said of this.#said.values()) toOthers(said)
        this.#listeners.add(toOthers)
        return () => this.#listeners.delete(toOthers)
      },
      onLost: (listener) => {
        this.#lost.add(listener)
        return () => this.#lost.delete(listener)
      },
      isThere: async (peer) => this.#said.has(peer),
      look: async () => {},
      positionOf,
    }
  }
}

interface ReplicatingPeer extends SharingPeer {
  replicator: Replicator
  decisions: DecisionLog
  /** Says what is true of it now. */
  say(): void
  gone(): Promise<void>
}

function ownOf(
  store: ContextStore,
  isFetching: (contextId: string) => boolean,
): (OwnContext & { tier: 'partial' | 'stored' })[] {
  return store.list().map(({ contextId, tier, bytes }) => ({
    contextId,
    bytes,
    tier: tier.kind === 'stored' ? 'stored' : 'partial',
    share: tier.kind === 'stored' ? 1 : tier.kind === 'partial' ? tier.share : 0,
    isFetching: tier.kind !== 'stored' && isFetching(contextId),
    isBusy: false,
  }))
}

async function startReplicating(
  count: number,
  options: Partial<ReplicationOptions> = withGrace(1_000),
  sharingOptions: ContextSharingOptions & { log?: Logger } = {},
): Promise<{ peers: ReplicatingPeer[]; board: NoticeBoard }> {
  const board = new NoticeBoard()
  const sharing = await startPeers(closers, count, sharingOptions)
  const peers = await Promise.all(sharing.map((peer, index) => replicating(peer, board, index, options)))
  for (const peer of peers) peer.holders = peers.map(({ id }) => id)
  for (const peer of peers) peer.say()
  return { peers, board }
}

async function replicating(
  peer: SharingPeer,
  board: NoticeBoard,
  seed: number,
  options: Partial<ReplicationOptions>,
): Promise<ReplicatingPeer> {
  const { store, sharing, node, id } = peer
  const decisions = new DecisionLog(systemClock)
  const own = (): ReturnType<typeof ownOf> => ownOf(store, (contextId) => sharing.isFetching(contextId))
  let isGone = false
  const say = (): void => {
    const { takes, isDraining } = replicator.status()
    if (!isGone) board.say({ peer: id, takes, isDraining, contexts: own() })
  }
  const replicator: Replicator = new Replicator(
    {
      network: node.network,
      store,
      sharing,
      swarm: board.swarmOf(id),
      decisions,
      clock: systemClock,
      random: seededRandom(seed + 1),
      log: silentLogger,
      own,
      onTakes: () => queueMicrotask(say),
      onCopied: () => {},
    },
    options,
  )
  const changed = (): void => {
    replicator.changed()
    say()
  }
  store.onChange(changed)
  sharing.onFetching(changed)
  await replicator.start()
  closers.add(() => replicator.stop())
  const gone = async (): Promise<void> => {
    isGone = true
    await replicator.stop()
    await sharing.stop()
    board.lose(id)
  }
  return Object.assign(peer, { replicator, decisions, say, gone })
}

async function importModel({ store }: SharingPeer, seed: string, bytes = 3 * MIB): Promise<string> {
  const folder = await writeFiles(await closers.temporaryFolder(), modelFiles(seed, bytes))
  return (await store.import(folder)).contextId
}

const copiesOf = (peers: ReplicatingPeer[], contextId: string): ReplicatingPeer[] =>
  peers.filter(({ store }) => store.tier(contextId).kind === 'stored')

describe('a swarm of replicators', () => {
  it('makes three copies of what one peer imports, says why, and makes up for one that is gone', async () => {
    const { peers } = await startReplicating(5)
    const contextId = await importModel(peers[0]!, 'a')
    await until('three copies', () => copiesOf(peers, contextId).length >= 3)
    const [, copier] = copiesOf(peers, contextId)
    const codes = copier!.decisions.of(contextId).map(({ code }) => code)
    expect(codes).toContain('copy-begun')
    expect(codes).toContain('copy-made')
    expect(copier!.replicator.status().contexts[0]).toMatchObject({ contextId, wanted: 3 })
    const left = peers.filter((peer) => peer !== copier)
    await copier!.gone()
    await until('three copies again', () => copiesOf(left, contextId).length >= 3)
  })

  it('asks for a copy when no neighbour sees by itself that one is missing', async () => {
    const options = { ...withGrace(1_000), offerAfterMs: 0, joinAfterMs: 0, urgentJoinAfterMs: 600_000 }
    const { peers } = await startReplicating(3, options)
    const contextId = await importModel(peers[0]!, 'b')
    await until('a copy that was asked for', () => copiesOf(peers, contextId).length >= 2)
    const [, copier] = copiesOf(peers, contextId)
    expect(copier!.decisions.of(contextId).find(({ code }) => code === 'copy-accepted')?.peer).toBe(
      peers[0]!.id,
    )
    const asked = peers[0]!.decisions.of(contextId).filter(({ code }) => code === 'copy-offered')
    expect(asked.map(({ peer }) => peer)).toContain(copier!.id)
  })

  it('hands over what only a leaving peer has, and says what is left', async () => {
    const { peers } = await startReplicating(3, { ...withGrace(300_000), urgentJoinAfterMs: 600_000 })
    const contextId = await importModel(peers[0]!, 'c')
    expect(peers[0]!.replicator.onlyHere()).toEqual([contextId])
    const drain = peers[0]!.replicator.drain(AbortSignal.timeout(15_000))
    peers[0]!.say()
    expect((await drain).onlyHere).toEqual([])
    expect(copiesOf(peers.slice(1), contextId).length).toBeGreaterThanOrEqual(1)
  })

  it('hands over by two peers that fetch different chunks: its own uplink sends each about once', async () => {
    const options = { ...withGrace(300_000), urgentJoinAfterMs: 600_000 }
    const fetched: Required<Fetched>[] = []
    const info: Logger['info'] = (fields) => {
      const { sources } = fields as Fetched
      if (sources !== undefined) fetched.push({ sources })
    }
    const log: Logger = { ...silentLogger, info }
    const { peers } = await startReplicating(3, options, { uploadRate: 12 * MIB, log })
    const contextId = await importModel(peers[0]!, 'two', 16 * MIB)
    const bytes = peers[0]!.store.entry(contextId)!.bytes
    const drain = peers[0]!.replicator.drain(AbortSignal.timeout(18_000))
    peers[0]!.say()
    expect((await drain).onlyHere).toEqual([])
    expect(copiesOf(peers.slice(1), contextId)).toHaveLength(2)
    await until('both are done', () => fetched.length === 2)
    const sent = fetched
      .flatMap(({ sources }) => sources.filter(({ peer }) => peer === peers[0]!.id))
      .reduce((sum, source) => sum + source.bytes, 0)
    expect(sent).toBeGreaterThanOrEqual(bytes)
    expect(sent).toBeLessThan(1.6 * bytes)
  })

  it('gives a hand-over up at its deadline, and says so', async () => {
    const { peers } = await startReplicating(2, { ...withGrace(300_000), isTaking: false })
    const contextId = await importModel(peers[0]!, 'd')
    expect(await peers[0]!.replicator.drain(AbortSignal.timeout(50))).toEqual({ onlyHere: [contextId] })
    const codes = peers[0]!.decisions.of(contextId).map(({ code }) => code)
    expect(codes).toContain('copy-no-neighbour-takes-it')
  })
})

describe('offers', () => {
  const quiet = { ...withGrace(300_000), urgentJoinAfterMs: 600_000 }

  async function ask(from: SharingPeer, to: SharingPeer, offer: object): Promise<ReplicaAnswer | undefined> {
    const stream = await from.node.network.open(to.id, REPLICA_PROTOCOL, { lane: 'control', ...WAIT })
    await stream.send(offer, WAIT)
    return await stream.receive(replicaAnswerSchema, WAIT)
  }

  const offerOf = (contextId: string): ReplicaOffer => ({
    type: 'offer',
    contextId,
    bytes: 3 * MIB,
    copies: 0,
    why: 'offered',
  })

  it('are declined for what the offering peer does not claim, what is held, and when there were too many', async () => {
    const { peers } = await startReplicating(2, quiet)
    const [holder, other] = [peers[0]!, peers[1]!]
    const contextId = await importModel(holder, 'e')
    const elsewhere = await importModel(other, 'f')
    expect(await ask(holder, other, offerOf(elsewhere))).toEqual({ type: 'declined', code: 'unclaimed' })
    expect(await ask(holder, other, offerOf(contextId))).toEqual({ type: 'accepted' })
    await until('the copy', () => copiesOf(peers, contextId).length === 2)
    await until('held', async () => {
      const answer = await ask(holder, other, offerOf(contextId))
      return answer?.type === 'declined' && answer.code === 'held'
    })
    for (let count = 0; count < REPLICA_OFFERS_PER_MINUTE_MAX; count += 1)
      await ask(holder, other, offerOf(contextId))
    expect(await ask(holder, other, offerOf(contextId))).toEqual({ type: 'declined', code: 'too-many' })
  })

  it('that are malformed end the stream and nothing else', async () => {
    const { peers } = await startReplicating(2, quiet)
    await expect(ask(peers[0]!, peers[1]!, { ...offerOf('x'), extra: 1 })).rejects.toThrow()
    const contextId = await importModel(peers[0]!, 'g')
    expect(await ask(peers[0]!, peers[1]!, offerOf(contextId))).toEqual({ type: 'accepted' })
  })
})

describe('the vectors of the protocol page', () => {
  it('are what the codec makes, and are read back as the same', async () => {
    const page = await readFile(join(import.meta.dirname, '../../../docs/protocol/replica.md'), 'utf8')
    const vectors = [...page.matchAll(/^(holder|neighbour) (.*)\n([0-9a-f]+)$/gm)]
    expect(vectors.map(([, side]) => side)).toEqual(['holder', 'neighbour', 'neighbour'])
    for (const [, side, json = '', hex] of vectors) {
      const message: unknown = JSON.parse(json)
      const frame = encodeMessage(message)
      expect(Buffer.from(frame).toString('hex')).toBe(hex)
      const schema: ZodType = side === 'holder' ? replicaOfferSchema : replicaAnswerSchema
      const { prefixBytes = 0 } = readLengthPrefix(frame) ?? {}
      expect(decodeMessage<unknown>(frame.subarray(prefixBytes), schema, 'a vector')).toEqual(message)
    }
  })
})

describe('an audit', () => {
  it('tells a holder from one that has not what it says, and from one that does not answer', async () => {
    const [asker] = await startPeers(closers, 1)
    const contextId = await importModel(asker!, 'h')
    const context = asker!.store.held(contextId)!
    const components = { network: asker!.node.network, clock: systemClock, random: seededRandom(3) }
    const audit = async (id: string): Promise<string> =>
      await auditReplica(components, id, context, AbortSignal.timeout(10_000))
    const honest = await startHolder(closers, context, {})
    const empty = await startHolder(closers, context, {
      onRequest: (stream, chunk) => stream.send({ type: 'reject', code: 'not-held', chunks: [chunk] }, WAIT),
    })
    const corrupt = await startHolder(closers, context, {
      onRequest: async (stream, chunk) => {
        const bytes = Uint8Array.from(await honestChunk(context, chunk))
        bytes[0]! ^= 1
        await sendChunk(stream, chunk, bytes)
      },
    })
    const busy = await startHolder(closers, context, {
      onOpen: async (stream) => {
        await stream.send({ type: 'busy', chunks: [], retryMs: 1000, alternatives: [] }, WAIT)
        return 'done'
      },
    })
    for (const holder of [honest, empty, corrupt, busy]) {
      await asker!.node.node.peerStore.merge(holder.node.node.peerId, {
        multiaddrs: holder.node.node.getMultiaddrs(),
      })
    }
    expect(await audit(honest.id)).toBe('held')
    expect(await audit(empty.id)).toBe('lied')
    expect(await audit(corrupt.id)).toBe('lied')
    expect(await audit(busy.id)).toBe('unknown')
    await honest.node.stop()
    expect(await audit(honest.id)).toBe('unknown')
  })
})
