import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { parse } from 'yaml'
import type { Output } from './run-command.ts'

export const SCENARIOS_FOLDER: string = join(import.meta.dirname, '../scenarios')

/** Names the shipped scenarios, each with its title. */
export async function listCommand(output: Output): Promise<number> {
  const files = (await readdir(SCENARIOS_FOLDER)).filter((file) => file.endsWith('.yaml')).sort()
  const scenarios: { scenario: string; title: string }[] = []
  for (const file of files) {
    const { title } = parse(await readFile(join(SCENARIOS_FOLDER, file), 'utf8')) as { title: string }
    scenarios.push({ scenario: basename(file, '.yaml'), title })
  }
  if (output.isJson) output.print({ scenarios })
  else for (const { scenario, title } of scenarios) output.print(`${scenario.padEnd(22)} ${title}`)
  return 0
}
