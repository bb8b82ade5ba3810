// Reaches the bounds on what a context and its users may make an engine hold.
import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  CONTEXT_JSON_BYTES_MAX,
  ENGINE_RUNS_WAITING_MAX,
  ONNX_GRAPH_BYTES_MAX,
  ONNX_NODES_MAX,
} from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import { loadEngine } from '../../../src/inference/engines/load-engine.ts'
import { checkModelSafety } from '../../../src/inference/onnx/model-safety.ts'
import { readModel } from '../../../src/inference/onnx/onnx-reader.ts'
import { encodeModel } from '../../../src/inference/onnx/onnx-writer.ts'
import { bytesOf, Message } from '../../../src/inference/onnx/protobuf-message.ts'
import { bytesSource } from '../../../src/inference/onnx/protobuf.ts'
import { harmless, writeContext } from '../../../testing/malicious-models.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

/** A model that is this graph. */
function modelOf(graph: Message): Uint8Array {
  return Buffer.concat(new Message().message(7, graph).parts.map(bytesOf))
}

function graphOfNodes(count: number): Message {
  const node = new Message().text(4, 'Identity')
  const graph = new Message()
  for (let index = 0; index < count; index += 1) graph.message(1, node)
  return graph
}

test('a model has at most so many nodes and weights', () => {
  const most = readModel(bytesSource(modelOf(graphOfNodes(ONNX_NODES_MAX))))
  expect(most.nodes).toHaveLength(ONNX_NODES_MAX)
  expect(() => readModel(bytesSource(modelOf(graphOfNodes(ONNX_NODES_MAX + 1))))).toThrow('too many nodes')
})

test('a graph without its weights has at most so many bytes', () => {
  // The bytes of one node: its operator, what is said of it, and what protobuf puts before each.
  const nodeOf = (bytes: number): Message => {
    const start = new Message().text(4, 'Identity')
    return start.bytes(6, new Uint8Array(bytes - start.byteLength - 5))
  }
  const check = (bytes: number): void => {
    const source = bytesSource(modelOf(new Message().message(1, nodeOf(bytes))))
    checkModelSafety(readModel(source), source)
  }
  check(ONNX_GRAPH_BYTES_MAX)
  expect(() => check(ONNX_GRAPH_BYTES_MAX + 1)).toThrow(`over the limit of ${ONNX_GRAPH_BYTES_MAX}`)
})

test('a small file of a context has at most so many bytes', async () => {
  const folder = temporaryFolder('bounds')
  writeContext(folder, encodeModel(harmless()))
  truncateSync(join(folder, 'tokenizer.json'), CONTEXT_JSON_BYTES_MAX + 1)
  const components = { clock: systemClock, random: seededRandom(1), log: silentLogger }
  await expect(loadEngine(folder, { engine: 'auto', threads: 1 }, components)).rejects.toMatchObject({
    code: 'context-invalid',
    message: `tokenizer.json has ${CONTEXT_JSON_BYTES_MAX + 1} bytes, over the limit of ${CONTEXT_JSON_BYTES_MAX}`,
  })
})

test('so many requests wait for a slot; one more is refused, and the others are not harmed', async () => {
  const slots = 1
  const host = new EngineHost(
    { clock: systemClock, log: silentLogger },
    { folder: '/nowhere', engine: 'fake', slots, fake: { prefillMs: 600_000 } },
  )
  await host.start()
  const request = { url: '/v1/completions', body: { prompt: 'slow', max_tokens: 1 } }
  // Twice its slots are with the process already.
  const answers = Array.from({ length: ENGINE_RUNS_WAITING_MAX + 2 * slots }, () =>
    host.run(request).then(
      () => 'answered',
      (error: unknown) => (error as { code: string }).code,
    ),
  )
  await expect(host.run(request)).rejects.toMatchObject({ code: 'limit-reached' })
  await host.stop()
  expect(new Set(await Promise.all(answers))).toEqual(new Set(['engine-failed']))
})
