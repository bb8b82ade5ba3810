import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { ENGINE_NAMES } from '../../src/inference/contract/engine.ts'
import { DEVICE_WISHES } from '../../src/inference/device/device-choice.ts'
import { JOB_URLS } from '../../src/tasks/job/job-file.ts'
import { EVALUATION_MODES } from '../../src/tasks/worker/core/worker-state.ts'
import { SESSION_PRESETS } from '../../sim/churn/presets.ts'
import { TRACE_FORMATS } from '../../sim/traces/formats.ts'
import { TRACE_UNITS } from '../../sim/traces/trace-text.ts'

const HEARTH = fileURLToPath(new URL('../../bin/hearth.js', import.meta.url))

interface Ended {
  exitCode: number | null
  stderr: string
}

function hearth(parameters: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>()
  const options = { env: { ...process.env, ...environment } }
  const child = execFile(process.execPath, [HEARTH, ...parameters], options, (_error, _stdout, stderr) =>
    resolve({ exitCode: child.exitCode, stderr }),
  )
  return promise
}

const SUBMIT = ['submit', 'job.jsonl', '--context', 'facts', '-o', 'out.jsonl']

test.for<[string[], readonly string[]]>([
  [['up', '--engine', 'vllm'], ENGINE_NAMES],
  [['up', '--device', 'vllm'], DEVICE_WISHES],
  [['up', '--evaluate', 'vllm'], EVALUATION_MODES],
  [
    [...SUBMIT, '--format', 'vllm'],
    ['batch', 'text', 'jsonl', 'csv'],
  ],
  [[...SUBMIT, '--endpoint', 'vllm'], JOB_URLS],
  [['sim', 'fit', 'trace.csv', '--format', 'vllm'], TRACE_FORMATS],
  [['sim', 'fit', 'trace.csv', '--unit', 'vllm'], TRACE_UNITS],
  [['sim', 'dht', '--preset', 'vllm'], Object.keys(SESSION_PRESETS)],
])(
  'hearth %s: a name that is not known ends it with 2, and the names that are known',
  async ([parameters, known]) => {
    const { exitCode, stderr } = await hearth(parameters)
    expect(exitCode).toBe(2)
    expect(stderr).toContain('vllm')
    expect(stderr).toContain(known.join(', '))
  },
)

test('a level of logging that is not known ends a command with 2, and the levels that are known', async () => {
  const { exitCode, stderr } = await hearth(['status'], { HEARTH_LOG: 'loud' })
  expect(exitCode).toBe(2)
  expect(stderr).toContain('HEARTH_LOG is "loud"')
  expect(stderr).toContain('trace, debug, info, warn, error, fatal, silent')
})

test.for<[string[], string]>([
  [['context', 'add'], 'Run "hearth context add --help" for usage'],
  [['drain', '--nosuch'], 'Run "hearth drain --help" for usage'],
  [['nosuch'], 'Run "hearth --help" for usage'],
])(
  'hearth %s: a wrong command line ends it with 2, and the command that explains it',
  async ([parameters, hint]) => {
    const { exitCode, stderr } = await hearth(parameters)
    expect(exitCode).toBe(2)
    expect(stderr).toContain(hint)
  },
)
