import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EncoderModel } from '../../../src/inference/batching/encoder-model.ts'
import { GraphBuilder, writeModel } from '../../../src/inference/onnx/onnx-writer.ts'
import { openSession } from '../../../src/inference/running/onnx-session.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

/** Token 1 has an infinite vector, every other a finite one. */
async function overflowing(): Promise<EncoderModel> {
  const builder = new GraphBuilder('overflowing')
  const vectors = Float32Array.from([1, 2, 3e38, 3e38, 5, 6])
  builder.tensor('vectors', 'float', [3, 2], () => vectors)
  builder.input('input_ids', 'int64', ['batch', 'sequence'])
  builder.output('last_hidden_state', 'float', ['batch', 'sequence', 2])
  const states = builder.node('Gather', ['vectors', 'input_ids'])
  builder.namedNode('Mul', [states, builder.float(2)], ['last_hidden_state'])
  const path = join(temporaryFolder('overflow'), 'model.onnx')
  writeModel(builder.graph, path)
  const session = await openSession({ model: path }, { threads: 1 })
  const recipe = { pooling: ['mean' as const], steps: [{ kind: 'normalize' as const }] }
  return new EncoderModel(session, 'last_hidden_state', recipe, { rowsMax: 8, tokensMax: 64 })
}

test('a text whose vector has no numbers is refused alone', async () => {
  const model = await overflowing()
  const [good, bad, other] = await Promise.allSettled(
    [[0, 2], [0, 1], [2]].map((tokens) => model.encode({ tokens }, undefined)),
  )
  expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'request-invalid' } })
  expect(good?.status).toBe('fulfilled')
  expect(other?.status).toBe('fulfilled')
  await model.close()
})

test('a text that the kernels cannot read is refused alone, first or last or among others', async () => {
  // Index 9 is outside the table of 3 vectors: the Gather throws for the whole batch.
  const model = await overflowing()
  const texts = [[9, 0], [0, 2], [2], [0, 9], [0], [2, 2, 0], [9]]
  const answers = await Promise.allSettled(texts.map((tokens) => model.encode({ tokens }, undefined)))
  for (const [index, ids] of texts.entries()) {
    const bad = { status: 'rejected', reason: { code: 'request-invalid' } }
    expect(answers[index], String(ids)).toMatchObject(ids.includes(9) ? bad : { status: 'fulfilled' })
  }
  await expect(model.encode({ tokens: [9] }, undefined)).rejects.toMatchObject({ code: 'request-invalid' })
  expect((await model.encode({ tokens: [2] }, undefined)).length).toBe(2)
  await model.close()
})
