import { describe, expect, test } from 'vitest'
import { findSwarm, rememberVisit } from '../../../src/cli/terminal/find-swarm.ts'
import type { Terminal } from '../../../src/cli/terminal/terminal.ts'
import type { RememberedPeer } from '../../../src/dht/join/remembered-peers.ts'
import { DataFolder } from '../../../src/node/home/data-folder.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const peerAt = (peer: string, lastSeenMs: number): RememberedPeer => ({
  peer,
  addresses: [`/ip4/127.0.0.1/tcp/${lastSeenMs}`],
  lastSeenMs,
})

/** What a command finds on `data`, and the notes that it prints. */
async function find(
  data: DataFolder,
  options: { bootstrap?: string[]; swarm?: string } = {},
): Promise<{ place: unknown; notes: string[] }> {
  const notes: string[] = []
  const terminal = { note: (line: string) => void notes.push(line) } as unknown as Terminal
  const place = await findSwarm(
    { bootstrap: [], ...options },
    { data, terminal, signal: new AbortController().signal },
  )
  return { place, notes }
}

describe('a command finds its swarm', () => {
  test('where --bootstrap says, without a word', async () => {
    const data = new DataFolder(temporaryFolder('given'))
    rememberVisit(data, 'old', [peerAt('peerA', 1)])
    const given = { bootstrap: ['/ip4/127.0.0.1/tcp/9'], swarm: 'given' }
    expect(await find(data, given)).toEqual({ place: given, notes: [] })
  })

  test('in the memory of the peer whose folder it is, the latest peers first, and says so', async () => {
    const data = new DataFolder(temporaryFolder('memory'))
    data.create()
    data.remember({ swarm: 'ours', peers: [peerAt('peerA', 1), peerAt('peerB', 2)] })
    const { place, notes } = await find(data)
    expect(place).toEqual({
      swarm: 'ours',
      bootstrap: ['/ip4/127.0.0.1/tcp/2/p2p/peerB', '/ip4/127.0.0.1/tcp/1/p2p/peerA'],
    })
    expect(notes).toEqual([expect.stringContaining(`Swarm ours, as remembered in ${data.path}`)])
  })

  test('where it was last time, unless --swarm names another', async () => {
    const data = new DataFolder(temporaryFolder('visited'))
    rememberVisit(data, 'visited', [peerAt('peerA', 1)])
    expect((await find(data)).place).toMatchObject({ swarm: 'visited' })
    // A later "hearth up" on this folder does not join the swarm that was only visited.
    expect(data.memory().swarm).toBeUndefined()
    await expect(find(data, { swarm: 'another' })).rejects.toMatchObject({ code: 'no-peers' })
  })

  test('or is told how, when nothing is known', async () => {
    const data = new DataFolder(temporaryFolder('nothing'))
    rememberVisit(data, 'empty', [])
    await expect(find(data)).rejects.toThrow('give --bootstrap ADDRESS')
  })

  test('a visit is not kept while a peer runs on the folder', () => {
    const data = new DataFolder(temporaryFolder('locked'))
    const unlock = data.lock()
    rememberVisit(data, 'visited', [peerAt('peerA', 1)])
    unlock()
    expect(data.memory().visited).toBeUndefined()
  })
})
