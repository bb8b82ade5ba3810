// What a fetch makes of holders that do wrong, over real connections: every fault that a holder can have.
import { afterEach, describe, expect, it } from 'vitest'
import { systemRandom } from '../../../src/base/system-random.ts'
import { type Fault, withFaults } from '../../../testing/faulty-network.ts'
import {
  Closers,
  type SharingPeer,
  modelFiles,
  startPeers,
  storedFiles,
  writeFiles,
} from '../../../testing/sharing-peers.ts'

const MIB = 1024 * 1024
const closers = new Closers()
afterEach(() => closers.run())

interface Swarm {
  fetchers: SharingPeer[]
  holders: SharingPeer[]
  contextId: string
  /** Bytes of chunks that each peer sent, holders first. */
  sent: number[]
}

/** Holders with the same context, each with its fault, and peers that know them all. */
async function swarmOf(faults: (Fault | undefined)[], fetchers: number, mib = 12): Promise<Swarm> {
  const folder = await writeFiles(await closers.temporaryFolder(), modelFiles('faults', mib * MIB))
  const sent: number[] = Array.from({ length: faults.length + fetchers }, () => 0)
  const peers = await startPeers(closers, faults.length + fetchers, {
    wrap: (network, index) =>
      withFaults(network, {
        random: systemRandom,
        fault: faults[index],
        onSent: (bytes) => void (sent[index] = (sent[index] ?? 0) + bytes),
      }),
  })
  const holders = peers.slice(0, faults.length)
  let contextId = ''
  for (const { store } of holders) contextId = (await store.import(folder)).contextId
  for (const peer of peers) peer.holders = peers.filter((other) => other !== peer).map(({ id }) => id)
  return { fetchers: peers.slice(faults.length), holders, contextId, sent }
}

const bannedBy = ({ decisions }: SharingPeer, contextId: string): (string | undefined)[] =>
  decisions
    .of(contextId)
    .filter(({ code }) => code === 'source-banned')
    .map(({ peer }) => peer)

describe('a fetch', () => {
  it.each<[string, Fault]>([
    ['corrupts everything', { kind: 'corrupt', share: 1 }],
    ['goes mute in the middle of a chunk', { kind: 'stall', share: 1 }],
    ['ends in the middle of a chunk', { kind: 'truncate', share: 1 }],
    ['resets the stream in the middle of a chunk', { kind: 'reset', share: 0.3 }],
  ])('is whole beside a holder that %s, and bans nobody else', async (_what, fault) => {
    const swarm = await swarmOf([undefined, undefined, fault], 1)
    const [fetcher] = swarm.fetchers as [SharingPeer]
    await fetcher.sharing.fetch(swarm.contextId)
    expect(await storedFiles(fetcher.store, swarm.contextId)).toEqual(
      await storedFiles(swarm.holders[0]!.store, swarm.contextId),
    )
    const banned = bannedBy(fetcher, swarm.contextId)
    expect(banned).toEqual(fault.kind === 'corrupt' ? [swarm.holders[2]!.id] : [])
  })

  it('is whole beside a fetcher that says that it holds everything, which is not banned for that', async () => {
    const swarm = await swarmOf([undefined, { kind: 'lie', share: 1 }], 2)
    const [, liar] = swarm.holders
    await liar!.store.remove(swarm.contextId)
    const all = [...swarm.fetchers, liar!]
    await Promise.all(all.map(({ sharing }) => sharing.fetch(swarm.contextId)))
    const files = await storedFiles(swarm.holders[0]!.store, swarm.contextId)
    for (const fetcher of all) {
      expect(await storedFiles(fetcher.store, swarm.contextId)).toEqual(files)
      expect(bannedBy(fetcher, swarm.contextId)).toEqual([])
    }
  })
})

describe('a holder of everything', () => {
  it('sends the context about once, however many fetch it together', async () => {
    const { fetchers, contextId, sent } = await swarmOf([undefined], 3, 24)
    await Promise.all(fetchers.map(({ sharing }) => sharing.fetch(contextId)))
    const [byHolder = 0, ...byFetchers] = sent
    const whole = fetchers[0]!.store.entry(contextId)?.bytes ?? 0
    expect(byHolder).toBeGreaterThanOrEqual(whole)
    expect(byHolder).toBeLessThan(2 * whole)
    expect(byFetchers.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(whole)
  })
})
