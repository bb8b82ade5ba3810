import type { PeerId } from '@libp2p/interface'
import type { SingleKadDHT } from '@libp2p/kad-dht'
import { CID } from 'multiformats/cid'
import { describe, expect, test } from 'vitest'
import { PROVIDER_RECORDS_MAX, PROVIDER_RECORDS_PER_PEER_MAX } from '../../../src/base/limits.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { boundProviderRecords, ProviderRecords } from '../../../src/node/libp2p/provider-bounds.ts'
import { startStack } from '../../../testing/libp2p-swarm.ts'

describe('provider records of other peers', () => {
  test('are bounded for each; renewing one is always possible, and expired ones make room', () => {
    const records = new ProviderRecords(1_000)
    for (let key = 0; key < PROVIDER_RECORDS_PER_PEER_MAX; key += 1)
      expect(records.take('greedy', `key${key}`, 0)).toBe(true)
    expect(records.take('greedy', 'one more', 500)).toBe(false)
    expect(records.take('greedy', 'key0', 500)).toBe(true)
    expect(records.take('another', 'one more', 500)).toBe(true)
    expect(records.take('greedy', 'one more', 1_000)).toBe(true)
    expect(records.take('greedy', 'key0', 1_400)).toBe(true)
  })

  test('are bounded together', () => {
    const records = new ProviderRecords(1_000)
    let kept = 0
    for (let peer = 0; peer * PROVIDER_RECORDS_PER_PEER_MAX <= PROVIDER_RECORDS_MAX; peer += 1)
      for (let key = 0; key < PROVIDER_RECORDS_PER_PEER_MAX; key += 1)
        if (records.take(`peer${peer}`, `key${key}`, 0)) kept += 1
    expect(kept).toBe(PROVIDER_RECORDS_MAX)
    expect(records.take('late', 'key', 1_000)).toBe(true)
  })

  test('over the bound do not reach the store of kad-dht; our own do', async () => {
    const stored: string[] = []
    const providers = {
      addProvider: async (_cid: CID, provider: PeerId, _options?: object) =>
        void stored.push(provider.toString()),
    }
    const idOf = (name: string): PeerId =>
      ({ toString: () => name, equals: (other: PeerId) => other.toString() === name }) as unknown as PeerId
    boundProviderRecords(
      { dht: { providers } as unknown as SingleKadDHT, clock: systemClock },
      { self: idOf('self'), validityMs: 60_000 },
    )
    const keyOf = (index: number): CID => ({ toString: () => `key${index}` }) as unknown as CID
    for (let index = 0; index < PROVIDER_RECORDS_PER_PEER_MAX + 10; index += 1) {
      await providers.addProvider(keyOf(index), idOf('greedy'))
      await providers.addProvider(keyOf(index), idOf('self'))
    }
    expect(stored.filter((peer) => peer === 'greedy')).toHaveLength(PROVIDER_RECORDS_PER_PEER_MAX)
    expect(stored.filter((peer) => peer === 'self')).toHaveLength(PROVIDER_RECORDS_PER_PEER_MAX + 10)
  })

  test('are bounded in a real peer', async () => {
    const [keeper, greedy] = [await startStack(), await startStack()]
    const { providers } = keeper.node.services.dht as unknown as {
      providers: {
        addProvider(cid: CID, peer: PeerId): Promise<void>
        getProviders(cid: CID): Promise<PeerId[]>
      }
    }
    const key = CID.parse('bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy')
    await providers.addProvider(key, greedy.node.peerId)
    expect(String(await providers.getProviders(key))).toBe(greedy.members.self)
    await Promise.all([keeper.stop(), greedy.stop()])
  })
})
