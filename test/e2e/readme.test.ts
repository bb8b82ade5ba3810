// The README's commands as printed, and one of each other kind, on two machines with empty homes. Where the kernel lets it, they
// have a network of their own, on which every look-up of a name is recorded.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { FlowReport } from '../../testing/empty-home/readme-flow.ts'
import { inNamespace, whyNoNamespace } from '../../testing/empty-home/namespace.ts'
import { ROOT } from '../../testing/docs/pages.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const folder = temporaryFolder('readme')
const noNamespace = whyNoNamespace(folder)
const report = await runFlow()

async function runFlow(): Promise<FlowReport> {
  const program = [process.execPath, join(ROOT, 'testing/empty-home/readme-flow.ts'), folder]
  const command = noNamespace === undefined ? inNamespace(folder, [...program, '--namespace']) : program
  const { stdout } = await promisify(execFile)(command[0]!, command.slice(1), { timeout: 600_000 })
  return JSON.parse(stdout) as FlowReport
}

test('every command that the README prints works as printed, and so do the others', () => {
  expect(report.steps.length).toBeGreaterThan(10)
  expect(report.steps.filter(({ status }) => status !== 0)).toEqual([])
  const answers = report.answers.map((line) => JSON.parse(line) as { custom_id: string; error: unknown })
  expect(answers.map(({ custom_id, error }) => [custom_id, error])).toEqual([
    ['1', null],
    ['2', null],
  ])
})

test('the results of a job are printed to a socket, as a parent that is a Node has', () => {
  const results = report.steps.find(({ command }) => command.startsWith('hearth job results'))
  expect(results?.output.trim().split('\n')).toEqual(report.answers)
})

test('no command leaves a file outside its data folder, the cache of Hearth, and what it was told to write', () => {
  expect(report.strayFiles).toEqual([])
})

test('no command looks up a name', (context) => {
  if (noNamespace !== undefined) context.skip(noNamespace)
  expect(report.provenNames).toContain('recorder.hears')
  expect(report.names).toEqual([])
})
