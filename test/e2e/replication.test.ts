import { copyFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ContextStatus } from '../../src/node/status/peer-status.ts'
import { until } from '../../testing/libp2p-swarm.ts'
import { FACTS, TestSwarm, type RunningPeer } from '../../testing/process-swarm.ts'
import { writeSmallModel } from '../../testing/small-models.ts'

/** Some 6 MiB of weights. */
const SHAPE = {
  layers: 1,
  hidden: 256,
  intermediate: 1_024,
  heads: 4,
  keyValueHeads: 2,
  headSize: 64,
  vocabulary: 1_280,
  positionsMax: 64,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}
const SEEDS: Record<string, number> = { one: 1, two: 2, three: 3 }
/** Every time of replication a hundredth of what it is by default. */
const QUICK = ['--repair-after', '3']

let swarm: TestSwarm
beforeAll(async () => {
  swarm = await TestSwarm.create()
})
afterAll(async () => {
  await swarm.dispose()
})

async function importModel(name: string, peer: string): Promise<string> {
  const seed = SEEDS[name] ?? 0
  const path = writeSmallModel({ shape: SHAPE, seed, attention: 'grouped-query', externalData: true })
  const folder = dirname(dirname(path))
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    await copyFile(join(FACTS, file), join(folder, file))
  const added = swarm.hearth('context', 'add', folder, '--name', name, '--data', swarm.path(peer))
  return String((await added.event('context-added', 30_000))['contextId'])
}

async function contextOf(peer: RunningPeer, contextId: string): Promise<ContextStatus | undefined> {
  const { contexts } = await peer.status()
  return contexts.find((context) => context.contextId === contextId)
}

/** Of these peers, those that have all of a context on disk. */
async function holdersOf(peers: readonly RunningPeer[], contextId: string): Promise<RunningPeer[]> {
  const found = await Promise.all(
    peers.map(async (peer) => ((await contextOf(peer, contextId))?.tier === 'stored' ? [peer] : [])),
  )
  return found.flat()
}

async function untilCopies(
  peers: readonly RunningPeer[],
  contextIds: string[],
  copies: number,
): Promise<void> {
  for (const contextId of contextIds) {
    await until(`${copies} copies`, async () => (await holdersOf(peers, contextId)).length >= copies, 30_000)
  }
}

async function copiesKnownTo(peer: RunningPeer, contextId: string): Promise<number | undefined> {
  const { replication } = await peer.status()
  return replication.contexts.find((context) => context.contextId === contextId)?.copies
}

describe('copies in a swarm of real peers', () => {
  test(
    'who joins tops up; who vanishes is made up for; who comes back counts again; who drains hands over',
    { timeout: 120_000 },
    async () => {
      const first = await swarm.up('peer-0', ...QUICK)
      const second = await swarm.up('peer-1', ...QUICK)
      const contextIds = await Promise.all([importModel('one', 'peer-0'), importModel('two', 'peer-1')])
      await untilCopies([first, second], contextIds, 2)

      // Join: the third peer makes the third copy of each; three more find enough.
      const third = await swarm.up('peer-2', ...QUICK)
      await untilCopies([first, second, third], contextIds, 3)
      const flag = swarm.path('going')
      const others = await Promise.all([
        ...['peer-3', 'peer-4'].map((name) => swarm.up(name, ...QUICK)),
        swarm.up('peer-5', ...QUICK, '--shutdown-notice', `test -e ${flag} && echo 30`),
      ])
      const peers = [first, second, third, ...others]
      await until('all know one another', async () => {
        const statuses = await Promise.all(peers.map((peer) => peer.status()))
        return statuses.every(({ connectedPeers }) => connectedPeers === 5)
      })

      // Abrupt leave: the copies of the second peer are made anew elsewhere.
      second.process.kill('SIGKILL')
      await second.process.exited
      const left = peers.filter((peer) => peer !== second)
      await untilCopies(left, contextIds, 3)

      // Return: its copies are counted again, a surplus that is kept.
      const back = await swarm.up('peer-1', ...QUICK)
      for (const contextId of contextIds) {
        await until('the copy that came back is counted', async () => {
          const known = await copiesKnownTo(first, contextId)
          return known !== undefined && known >= 4
        })
      }

      // Drain: what only the leaving peer has is on another before it is gone.
      const [leaving] = others
      const [, staysOn, evicted] = others
      await writeFile(flag, '')
      const onlyThere = await importModel('three', 'peer-3')
      const drain = swarm.hearth('drain', '--data', swarm.path('peer-3'))
      expect(await drain.event('drained', 60_000)).toMatchObject({ onlyHere: [] })
      expect(await leaving.process.exited).toBe(0)
      const staying = [first, back, third, staysOn!]
      expect(await evicted!.process.exited).toBe(0)
      expect(evicted!.process.events.find(({ event }) => event === 'leaving')?.['why']).toContain('reclaimed')
      expect((await holdersOf(staying, onlyThere)).length).toBeGreaterThanOrEqual(1)
      expect(leaving.process.events.find(({ event }) => event === 'left')).toMatchObject({ onlyHere: [] })
    },
  )
})
