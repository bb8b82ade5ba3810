// Data folders in a place where nobody may write, the super-user included.
import { expect, test } from 'vitest'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { DataFolder } from '../../../src/node/home/data-folder.ts'
import { loadOrCreateIdentity } from '../../../src/node/home/identity.ts'

/** The kernel's own file system takes no files. */
const NOWHERE = '/sys/kernel/hearth'
const inaccessible = expect.objectContaining({ code: 'data-inaccessible' }) as Error

test.skipIf(process.platform !== 'linux')(
  'every part of a folder that cannot be written says so',
  async () => {
    const data = new DataFolder(NOWHERE)
    expect(() => data.create()).toThrow(inaccessible)
    expect(() => data.lock()).toThrow(inaccessible)
    await expect(loadOrCreateIdentity(`${NOWHERE}/identity.key`)).rejects.toThrow(inaccessible)
    const job = {
      jobId: 'job',
      context: 'facts',
      contextId: '',
      inputPath: 'in',
      inputSha256: 'aa',
      outputPath: 'out',
      createdAtMs: 1,
      isDetached: false,
    }
    await expect(Journal.create(`${NOWHERE}/journal.sqlite`, job, (async function* () {})())).rejects.toThrow(
      inaccessible,
    )
  },
)
