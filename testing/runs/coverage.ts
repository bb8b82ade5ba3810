// npm run coverage: runs the unit tests and prints how much of each core/ folder they cover.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { coverageLines, type FileCoverage } from './coverage-table.ts'

const ROOT = join(import.meta.dirname, '../..')
const FOLDER = join(ROOT, 'out/coverage')

const vitest = [
  join(ROOT, 'node_modules/vitest/vitest.mjs'),
  'run',
  '--project',
  'unit',
  '--coverage.enabled',
  '--coverage.provider=v8',
  '--coverage.include=src/**/core/*.ts',
  '--coverage.reporter=json-summary',
  `--coverage.reportsDirectory=${FOLDER}`,
  '--coverage.reportOnFailure',
  ...process.argv.slice(2),
]
const tests = spawn(process.execPath, vitest, { cwd: ROOT, stdio: 'inherit' })
process.exitCode = await new Promise<number>((resolve, reject) => {
  tests.once('error', reject)
  tests.once('close', (code) => resolve(code ?? 1))
})

const summary = JSON.parse(readFileSync(join(FOLDER, 'coverage-summary.json'), 'utf8')) as Record<
  string,
  Omit<FileCoverage, 'path'>
>
const files = Object.entries(summary)
  .filter(([path]) => path !== 'total')
  .map(([path, counts]) => ({ ...counts, path: relative(ROOT, path) }))
console.log(coverageLines(files).join('\n'))
