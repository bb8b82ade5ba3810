import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeEach, describe, expect, test } from 'vitest'
import { EventLog } from '../../../src/base/log/event-log.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

let folder: string
beforeEach(() => {
  folder = temporaryFolder('events')
})

const options = { schema: { log: 'test', version: 1 }, flushEveryMs: 1_000, waitingMax: 100 }

async function readLog(path: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(path, 'utf8')
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('an event log', () => {
  test('begins with its schema, and keeps the order of what it is told', async () => {
    const path = join(folder, 'new', 'events.ndjson')
    const log = new EventLog(systemClock, path, options)
    log.add({ kind: 'a', n: 1 })
    log.add({ kind: 'b' })
    await log.close()
    expect(await readLog(path)).toMatchObject([
      { schema: { log: 'test', version: 1 } },
      { kind: 'a', n: 1 },
      { kind: 'b' },
    ])
  })

  test('keeps a bounded number in memory, and says how many it had to drop', async () => {
    const path = join(folder, 'events.ndjson')
    const log = new EventLog(systemClock, path, options)
    for (let n = 0; n < 150; n += 1) log.add({ kind: 'event', n })
    await log.close()
    await log.close()
    const lines = await readLog(path)
    expect(lines.filter((line) => line['kind'] === 'event')).toHaveLength(99)
    expect(lines.at(-1)).toMatchObject({ kind: 'events-dropped', events: 51 })
  })

  test('keeps no more in memory while a slow disk takes what was written before', async () => {
    const path = join(folder, 'slow')
    await promisify(execFile)('mkfifo', [path])
    const log = new EventLog(systemClock, path, options)
    const closes: Promise<void>[] = []
    for (let round = 0; round < 4; round += 1) {
      for (let n = 0; n < 99; n += 1) log.add({ kind: 'event', round, n })
      closes.push(log.close())
    }
    const [lines] = await Promise.all([readLog(path), ...closes])
    expect(lines.filter((line) => line['kind'] === 'event')).toHaveLength(99 + 100)
    expect(lines.at(-1)).toMatchObject({ kind: 'events-dropped', events: 3 * 99 - 100 })
  })

  test('moves a full file aside, and begins the new one with its schema', async () => {
    const path = join(folder, 'events.ndjson')
    const log = new EventLog(systemClock, path, { ...options, fileBytesMax: 500 })
    for (let round = 0; round < 3; round += 1) {
      for (let n = 0; n < 20; n += 1) log.add({ kind: 'event', round, n })
      await log.close()
    }
    for (const [file, round] of [
      [`${path}.old`, 1],
      [path, 2],
    ] as const) {
      const [first, ...events] = await readLog(file)
      expect(first).toMatchObject({ schema: { log: 'test' } })
      expect(events).toHaveLength(20)
      expect(events[0]).toMatchObject({ round, n: 0 })
    }
  })

  test('goes on when it cannot be written', async () => {
    await writeFile(join(folder, 'file'), 'not a folder')
    const log = new EventLog(systemClock, join(folder, 'file', 'events.ndjson'), options)
    log.add({ kind: 'lost' })
    await expect(log.close()).resolves.toBeUndefined()
  })
})
