// npm run fuzz -- --results N --seed S: so many hostile results that the protocol allows, against real journals.
import { parseArgs } from 'node:util'
import { rmSync } from 'node:fs'
import { messageOf } from '../../src/base/errors.ts'
import { numberOption } from '../../src/base/number-option.ts'
import { newFolder } from '../folders/new-folder.ts'
import { hostileResults } from './hostile-results.ts'

const { values: flags } = parseArgs({
  options: { results: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' } },
})

const folder = newFolder('fuzz-results')
try {
  const results = numberOption('--results', flags.results, { isWhole: true, least: 1 })
  const seed = numberOption('--seed', flags.seed, { isWhole: true, least: 0 })
  const startedMs = performance.now()
  const outcome = await hostileResults({ results, seed, folder })
  console.log(
    JSON.stringify({ seed, ...outcome, seconds: Math.round((performance.now() - startedMs) / 1_000) }),
  )
} catch (error) {
  console.error(messageOf(error))
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
