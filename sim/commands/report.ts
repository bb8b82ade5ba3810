import { readFile, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { HearthError, messageOf } from '../../src/base/errors.ts'
import { reportPage } from '../report/report.ts'
import { requireComparable } from '../report/require-comparable.ts'
import { RUN_RESULT_VERSION, type RunResult } from '../runs/result/run-result.ts'
import type { Output } from './run-command.ts'

/** `hearth sim report`: a page about the runs in some folders, or in run.json files. */
export async function reportCommand(
  paths: readonly string[],
  options: { output: string },
  output: Output,
): Promise<number> {
  const read = await Promise.all(paths.map(async (path) => ({ path, run: await readRun(path) })))
  requireComparable(read)
  const runs = read.map(({ run }) => run)
  const file = resolve(options.output)
  await writeReport(runs, file)
  output.print(output.isJson ? { report: file, runs: runs.length } : file)
  return 0
}

/** Writes a page about runs. Throws `output-unwritable`. */
export async function writeReport(runs: readonly RunResult[], file: string): Promise<void> {
  await writePage(await reportPage(runs), file)
}

export async function writePage(page: string, file: string): Promise<void> {
  try {
    await writeFile(file, page)
  } catch (cause) {
    throw new HearthError(
      'output-unwritable',
      `Cannot write the report: ${messageOf(cause)}. Choose another file with -o`,
      { cause },
    )
  }
}

/** Reads a run.json, or that of a folder. Throws `usage`, saying what was there instead. */
async function readRun(path: string): Promise<RunResult> {
  try {
    const isFolder = (await stat(path)).isDirectory()
    const run = JSON.parse(await readFile(isFolder ? join(path, 'run.json') : path, 'utf8')) as RunResult
    if (run.version === RUN_RESULT_VERSION && run.series !== undefined) return run
    throw new TypeError(`it is of version ${run.version}, and this is made for version ${RUN_RESULT_VERSION}`)
  } catch (cause) {
    throw new HearthError(
      'usage',
      `Cannot read a run from ${path}: ${messageOf(cause)}. Give folders that "hearth sim run" wrote`,
      { cause },
    )
  }
}
