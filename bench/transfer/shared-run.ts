// Two contexts share a tokenizer and one of two shards. Measures the bytes sent for the second to a peer that has the first.
import { join } from 'node:path'
import { systemRandom } from '../../src/base/system-random.ts'
import { modelBytes, modelFiles, writeFiles } from '../../testing/sharing-peers.ts'
import { withFaults } from '../../testing/faulty-network.ts'
import { startSharingPeer, type SharingPeer } from './sharing-peer.ts'

/** Bytes of chunks sent over those that the second context has and the first has not. */
export async function sharedRatio(folder: string, shardBytes: number): Promise<number> {
  let sentBytes = 0
  const holder = await startSharingPeer({
    store: join(folder, 'holder'),
    directLane: true,
    wrap: (network) =>
      withFaults(network, {
        random: systemRandom,
        fault: undefined,
        onSent: (bytes) => {
          sentBytes += bytes
        },
      }),
  })
  const fetcher = await startSharingPeer({ store: join(folder, 'fetcher'), directLane: true })
  try {
    await fetcher.stack.members.meet(holder.stack.addresses[0] ?? '', { deadlineMs: 20_000 })
    const fetchModel = async (name: string): Promise<void> => {
      const secondShard = { 'onnx/model.onnx_data_1': modelBytes(name, shardBytes) }
      const files = { ...modelFiles('shared', shardBytes), ...secondShard }
      const { contextId } = await holder.store.import(await writeFiles(join(folder, name), files))
      await fetcher.sharing.fetch(contextId)
    }
    await fetchModel('first')
    const before = sentBytes
    await fetchModel('second')
    return (sentBytes - before) / shardBytes
  } finally {
    for (const peer of [fetcher, holder]) await stop(peer)
  }
}

async function stop({ sharing, stack, store }: SharingPeer): Promise<void> {
  await sharing.stop()
  await stack.stop()
  await store.close()
}
