import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { TestSwarm } from '../../testing/process-swarm.ts'

let swarm: TestSwarm
beforeEach(async () => {
  swarm = await TestSwarm.create()
})
afterEach(() => swarm.dispose())

describe('when a job cannot run, it says why', () => {
  test('bad lines are reported with their numbers, before anything runs', async () => {
    await swarm.up('a')
    const input = await swarm.file('bad.jsonl', '{"custom_id":"a"}\nnot json\n')
    const submit = swarm.submit(input, swarm.path('out.jsonl'))
    const error = await submit.event('error', 30_000)
    expect(error).toMatchObject({
      code: 'input-invalid',
      data: { errorCount: 2, errors: [{ line: 1 }, { line: 2 }] },
    })
    expect(await submit.exited).toBe(2)
  })

  test('a context that nobody has: its name, what is on offer, exit status 6', async () => {
    await swarm.importFacts('a')
    await swarm.up('a')
    const submit = swarm.submit(
      await swarm.claims(3),
      swarm.path('out.jsonl'),
      '--context',
      'poems',
      '--wait',
      '2',
    )
    const error = await submit.event('error', 30_000)
    expect(error).toMatchObject({ code: 'context-unknown' })
    expect(error['message']).toMatch(/"poems".*on offer: facts/)
    expect(await submit.exited).toBe(6)
  })

  test('a CID that nobody has: exit status 6', async () => {
    await swarm.up('a')
    const cid = 'bafyreicvaawsq2bivrjm372fdt23kydqxjv2q6t2xp7vdx3zfgzr5qicjy'
    const submit = swarm.submit(
      await swarm.claims(3),
      swarm.path('out.jsonl'),
      '--context',
      cid,
      '--wait',
      '2',
    )
    const error = await submit.event('error', 30_000)
    expect(error).toMatchObject({ code: 'unschedulable', data: { code: 'context-unknown' } })
    expect(await submit.exited).toBe(6)
  })

  test('the peers that hold it are paused; once one resumes, the same command runs', async () => {
    await swarm.importFacts('a')
    const before = await swarm.up('a')
    await swarm.hearth('pause', '--data', before.data.path).exited
    before.process.kill('SIGKILL')
    await before.process.exited
    // A pause is kept over a restart.
    const peer = await swarm.up('a')
    expect(await peer.status()).toMatchObject({ idle: { code: 'paused' } })
    const input = await swarm.claims(3)
    const bootstrap = ['--bootstrap', peer.address]
    const submit = swarm.submit(input, swarm.path('out.jsonl'), '--wait', '5', ...bootstrap)
    const error = await submit.event('error', 30_000)
    expect(error).toMatchObject({ code: 'unschedulable', data: { code: 'paused' } })
    expect(await submit.exited).toBe(6)
    await swarm.hearth('resume', '--data', peer.data.path).exited
    const again = swarm.submit(input, swarm.path('out.jsonl'), ...bootstrap)
    expect(await again.event('job-summary', 30_000)).toMatchObject({ committed: 3 })
  })

  test('a peer with a wrong swarm id is refused, and says so', async () => {
    const first = await swarm.up('a')
    const stranger = await swarm.up('b', '--swarm', 'f'.repeat(32))
    const submit = swarm.submit(await swarm.claims(3), swarm.path('out.jsonl'), '--swarm', 'f'.repeat(32))
    expect(await submit.event('error', 40_000)).toMatchObject({ code: 'swarm-mismatch' })
    expect(await submit.exited).toBe(3)
    expect((await first.status()).connectedPeers).toBe(0)
    expect(await stranger.status()).toMatchObject({ connectedPeers: 0, idle: { code: 'swarm-mismatch' } })
  })

  test('nobody answers at the bootstrap address', async () => {
    const input = await swarm.claims(3)
    const nobody = '/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGwj7Fn4osiDL99eb6MX9h6g6nKe8pUWC1ovCKMy1LVQv'
    const data = ['--data', swarm.path('submitter')]
    const submit = swarm.hearth(
      'submit',
      input,
      '-o',
      swarm.path('out.jsonl'),
      '--context',
      'facts',
      '--bootstrap',
      nobody,
      ...data,
    )
    expect(await submit.event('error', 40_000)).toMatchObject({ code: 'peer-unreachable' })
    expect(await submit.exited).toBe(6)
  })

  test('two peers do not share a data folder', async () => {
    await swarm.up('a')
    const second = swarm.hearth('up', '--data', swarm.path('a'), '--listen', '/ip4/127.0.0.1/tcp/0')
    expect(await second.event('error', 30_000)).toMatchObject({ code: 'data-in-use' })
    expect(await second.exited).toBe(9)
  })
})
