// Peers of one owner on bare libp2p nodes, each with a data folder of jobs that nothing runs.
import { silentLogger } from '../../src/base/log/logger.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { DataFolder } from '../../src/node/home/data-folder.ts'
import type { RunningJob } from '../../src/node/jobs/detached-jobs.ts'
import { JobFolder } from '../../src/node/jobs/job-folder.ts'
import { JobAsker } from '../../src/node/owner/job-asker.ts'
import { OwnedJobs } from '../../src/node/owner/owned-jobs.ts'
import { importOwner, loadOwner } from '../../src/node/owner/owner-key.ts'
import { Journal } from '../../src/tasks/journal/journal.ts'
import { introduceNodes, startBareNode, type BareNode } from '../libp2p-pair.ts'
import { newFolder } from '../folders/new-folder.ts'

export interface OwnedPeer {
  id: string
  bare: BareNode
  data: DataFolder
  asker: JobAsker
  owned: OwnedJobs
  /** The jobs that its peer reports as running. */
  running: RunningJob[]
  /** Jobs that it was told to stop running. */
  released: string[]
  /** Jobs that it was told to run, if they are unfinished and here. */
  started: string[]
  stop(): Promise<void>
}

/** Starts a peer for each exported owner key; undefined has none. All know one another. */
export async function startOwnedPeers(owners: readonly (string | undefined)[]): Promise<OwnedPeer[]> {
  const nodes = await Promise.all(owners.map(() => startBareNode()))
  await introduceNodes(nodes)
  const ids = nodes.map(({ network }) => network.self)
  return await Promise.all(nodes.map((bare, index) => startOwned(bare, owners[index], ids)))
}

async function startOwned(bare: BareNode, owner: string | undefined, ids: string[]): Promise<OwnedPeer> {
  const data = new DataFolder(newFolder('owned'))
  if (owner !== undefined) await importOwner(data, owner, { isForced: false })
  const { network } = bare
  const running: RunningJob[] = []
  const released: string[] = []
  const started: string[] = []
  const jobs = {
    list: () => running,
    release: (jobId: string) => Promise.resolve(released.push(jobId) > 0),
    run: (jobId: string) => void started.push(jobId),
  }
  const components = { network, data, clock: systemClock, log: silentLogger }
  const asker = new JobAsker({ ...components, members: () => ids, owner: () => loadOwner(data) })
  const owned = new OwnedJobs({ ...components, jobs, asker })
  await owned.start()
  const stop = async (): Promise<void> => {
    await owned.stop()
    await bare.stop()
  }
  return { id: network.self, bare, data, asker, owned, running, released, started, stop }
}

/** A job with `count` requests, of which the first `answered` have results; returns its id. */
export async function addJob(
  { data }: Pick<OwnedPeer, 'data'>,
  jobId: string,
  { count, answered }: { count: number; answered: number },
): Promise<string> {
  async function* requests(): AsyncGenerator<{ line: number; customId: string; url: string; body: string }> {
    for (let n = 0; n < count; n += 1)
      yield { line: n + 1, customId: `line-${n}`, url: '/v1/completions', body: '{"prompt":"secret"}' }
  }
  const folder = new JobFolder(data, jobId)
  const journal = await Journal.create(
    folder.journalPath,
    {
      jobId,
      context: 'facts',
      contextId: '',
      inputPath: '/in.jsonl',
      inputSha256: 'aa',
      outputPath: `${data.path}/out-${jobId}.jsonl`,
      createdAtMs: 1_700_000_000_000,
      isDetached: true,
    },
    requests(),
  )
  const leases = Array.from({ length: answered }, (_, n) => ({ n, epoch: 1 }))
  journal.commit(
    [{ peer: 'worker', leases }],
    leases.map((lease) => ({
      peer: 'worker',
      result: {
        ...lease,
        outcome: 'ok',
        statusCode: 200,
        body: JSON.stringify({ answer: `${lease.n} ${'x'.repeat(lease.n % 200)}` }),
        promptTokens: 1,
        completionTokens: 1,
      },
    })),
    1_700_000_000_000,
  )
  journal.close()
  return jobId
}
