// A job is refused with every line that its engine would refuse, before anything runs.
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { HearthError } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import { findStoredContext } from '../../../src/context-sharing/store/stored-context.ts'
import { DECLARATION_RUNTIME, writeDeclaration } from '../../../src/inference/endpoint/declaration.ts'
import { readRequestTarget } from '../../../src/inference/engines/request-target.ts'
import { DataFolder } from '../../../src/node/home/data-folder.ts'
import { openJob } from '../../../src/node/jobs/submit-job.ts'
import { BATCH_FILE } from '../../../src/tasks/job/job-file.ts'
import { writeSmallEncoder } from '../../../testing/small-encoder.ts'
import { writeSmallModel } from '../../../testing/small-models.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const FACTS = join(import.meta.dirname, '../../../models/facts')
const SHAPE = {
  layers: 1,
  hidden: 32,
  intermediate: 48,
  heads: 2,
  keyValueHeads: 1,
  headSize: 16,
  vocabulary: 512,
  positionsMax: 64,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}
const components = { clock: systemClock, log: silentLogger, random: seededRandom(1) }

let data: DataFolder
let decoder: string
beforeAll(async () => {
  data = new DataFolder(join(temporaryFolder('body-check'), 'data'))
  data.create()
  const path = writeSmallModel({ shape: SHAPE, seed: 3, attention: 'grouped-query' })
  rmSync(join(dirname(path), 'shape.json'))
  decoder = dirname(dirname(path))
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
    cpSync(join(FACTS, name), join(decoder, name))
  const endpoint = join(temporaryFolder('body-check'), 'endpoint')
  mkdirSync(endpoint)
  await writeDeclaration(endpoint, { model: 'served' })
  const store = new ContextStore(components, { folder: data.contextsPath, keepFree: { bytes: 0 } })
  await store.open()
  await store.import(decoder, { name: 'decoder' })
  await store.import(writeSmallEncoder(), { name: 'encoder' })
  await store.import(endpoint, { name: 'endpoint', runtime: DECLARATION_RUNTIME })
  await store.close()
})

let jobs = 0
async function submit(context: string, bodies: [url: string, body: object][]): Promise<string[]> {
  jobs += 1
  const folder = temporaryFolder('body-check')
  const inputPath = join(folder, `in-${jobs}.jsonl`)
  const lines = bodies.map(([url, body], index) =>
    JSON.stringify({ custom_id: `c${index}`, method: 'POST', url: `/v1/${url}`, body }),
  )
  writeFileSync(inputPath, lines.join('\n'))
  const request = {
    inputPath,
    outputPath: join(folder, 'out.jsonl'),
    context,
    reading: BATCH_FILE,
    isDetached: false,
    isForced: false,
  }
  try {
    const job = await openJob(components, data, request)
    job.journal.close()
    return []
  } catch (error) {
    const { code, data: found } = error as HearthError
    expect(code).toBe('input-invalid')
    const { errors } = found as { errors: { line: number; message: string }[] }
    return errors.map(({ line, message }) => `${line}: ${message}`)
  }
}

const messages = [{ role: 'user', content: 'Paris is the capital of France.' }]
const bodies: [string, object][] = [
  ['chat/completions', { messages, tools: [], n: 1, logit_bias: {} }],
  ['chat/completions', { messages, tools: [{ type: 'function' }] }],
  ['chat/completions', { messages, response_format: { type: 'json_object' } }],
  ['chat/completions', { messages, max_tokens: 0 }],
  ['completions', { prompt: [1, 512] }],
  ['completions', { prompt: ['a', 'b'] }],
  ['embeddings', { input: 'a' }],
  ['embeddings', { input: [[100_257]] }],
]
const linesOf = (errors: string[]): number[] => errors.map((error) => Number.parseInt(error, 10))

describe('a job is refused at once with the lines that', () => {
  test('a model that generates text would refuse', async () => {
    const errors = await submit('decoder', bodies)
    expect(errors).toEqual([
      "2: in the request's body, tools is not supported",
      expect.stringContaining('3: in the request'),
      expect.stringContaining('4: in the request'),
      expect.stringContaining('7: this context generates text and does not serve /v1/embeddings'),
      expect.stringContaining('8: this context generates text'),
    ])
  })

  test('a model that makes embeddings would refuse', async () => {
    const errors = await submit('encoder', bodies)
    expect(linesOf(errors)).toEqual([1, 2, 3, 4, 5, 6])
    expect(errors[0]).toContain('this context makes embeddings and does not serve /v1/chat/completions')
  })

  test.each(['endpoint', 'elsewhere'])('%s would refuse whatever it serves', async (context) => {
    const bad: [string, object] = ['chat/completions', { messages: [] }]
    expect(linesOf(await submit(context, [...bodies, bad]))).toEqual([9])
  })

  test('its CID would refuse', async () => {
    const { contextId } = (await findStoredContext(data.contextsPath, 'decoder'))!
    expect(linesOf(await submit(contextId, bodies))).toEqual([2, 3, 4, 7, 8])
  })
})

test('a folder tells what its engine will say', async () => {
  expect(await readRequestTarget(decoder)).toEqual({ kind: 'generate', hasChatTemplate: true })
})

test('a store that is not there knows no context', async () => {
  expect(await findStoredContext(join(data.path, 'nowhere'), 'decoder')).toBeUndefined()
  expect(await findStoredContext(data.contextsPath, 'bafyreib')).toBeUndefined()
})
