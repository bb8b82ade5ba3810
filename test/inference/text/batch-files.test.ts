// Batch files as OpenAI's Batch API and vLLM's run-batch take them run as they are: every line is read, and
// answered by the engine. The fixtures have the shapes of their public documentation.
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import type { EngineResult } from '../../../src/inference/contract/engine.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import { isLineError, readJobFile, type JobLine } from '../../../src/tasks/job/job-file.ts'
import { writeSmallEncoder } from '../../../testing/small-encoder.ts'

const FACTS = join(import.meta.dirname, '../../../models/facts')
const hosts: EngineHost[] = []
afterAll(() => Promise.all(hosts.map((host) => host.stop())))

async function run(file: string, folder: string): Promise<Map<string, EngineResult>> {
  const lines: JobLine[] = []
  for await (const line of readJobFile(join(import.meta.dirname, '../../fixtures', file))) {
    if (isLineError(line)) throw new Error(`line ${line.line}: ${line.message}`)
    lines.push(line)
  }
  const host = new EngineHost({ clock: systemClock, log: silentLogger }, { folder, slots: 4 })
  hosts.push(host)
  await host.start()
  const results = await Promise.all(
    lines.map(({ url, body }) => host.run({ url, body: JSON.parse(body) as unknown })),
  )
  return new Map(lines.map(({ customId }, index) => [customId, results[index] as EngineResult]))
}

test.each([
  [
    'openai-batch.jsonl',
    ['fact-1', 'fact-2', 'text-1'],
    ['chat.completion', 'chat.completion', 'text_completion'],
  ],
  ['vllm-run-batch.jsonl', ['request-1', 'request-2'], ['chat.completion', 'chat.completion']],
])('%s: each line has its answer', async (file, ids, objects) => {
  const results = await run(file, FACTS)
  expect([...results.keys()]).toEqual(ids)
  const bodies = [...results.values()].map((result) => (result.ok ? result.body : result.error))
  expect(bodies).toMatchObject(objects.map((object) => ({ object, choices: [{ index: 0 }] })))
})

test('openai-batch-embeddings.jsonl: each input has its vector', async () => {
  const results = [...(await run('openai-batch-embeddings.jsonl', writeSmallEncoder())).values()]
  const counts = results.map((result) =>
    result.ok ? (result.body['data'] as unknown[]).length : result.error,
  )
  expect(counts).toEqual([1, 2])
})
