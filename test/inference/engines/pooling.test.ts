import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readPooling } from '../../../src/inference/contract/model-folder.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

function folderWith(pooling: object, types: string[] = ['Transformer', 'Pooling']): string {
  const folder = temporaryFolder('pooling')
  mkdirSync(join(folder, '1_Pooling'))
  writeFileSync(join(folder, '1_Pooling/config.json'), JSON.stringify(pooling))
  const modules = types.map((type) => ({ type: `sentence_transformers.models.${type}` }))
  writeFileSync(join(folder, 'modules.json'), JSON.stringify(modules))
  return folder
}

test.each([
  [{ pooling_mode_mean_tokens: true, pooling_mode_max_tokens: false }, 'mean'],
  [{ pooling_mode_cls_token: true }, 'first'],
  [{ pooling_mode_lasttoken: true }, 'last'],
  [{ pooling_mode: 'cls' }, 'first'],
  [{ pooling_mode: 'lasttoken' }, 'last'],
])('%j is applied', async (config, kind) => {
  expect(await readPooling(folderWith(config))).toEqual({ kind, normalizes: false })
})

test.each([
  [folderWith({ pooling_mode_max_tokens: true }), 'max_tokens'],
  [folderWith({ pooling_mode: 'weightedmean' }), 'weightedmean'],
  [folderWith({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: true }), 'cls_token and mean_tokens'],
  [folderWith({}, ['Transformer', 'Pooling', 'Dense']), 'Dense'],
])('a step that is not computed is refused by name: %s', async (folder, name) => {
  await expect(readPooling(folder)).rejects.toMatchObject({
    code: 'model-unsupported',
    message: expect.stringContaining(name) as string,
  })
})
