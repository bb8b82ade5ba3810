import type { Command } from 'commander'
import { HearthError } from '../base/errors.ts'
import { formatOf, JOB_URLS, type JobFileOptions, type JobFormat, type JobUrl } from '../tasks/job-file.ts'

/** How `submit` reads its file, as given on the command line. */
export interface ReadingOptions {
  format?: string
  template?: string
  endpoint?: string
  maxTokens?: string
  temperature?: string
  topP?: string
  seed?: string
  stop: string[]
}

const FORMATS: readonly JobFormat[] = ['batch', 'text', 'jsonl', 'csv']

/** Adds the options that say how a job file is read. */
export function addReadingOptions(command: Command): Command {
  const gather = (value: string, values: string[]): string[] => [...values, value]
  return command
    .option('--format <format>', `${FORMATS.join(', ')} (default: by the file’s name, and --template)`)
    .option('--template <text>', 'a prompt with {field} in it, filled from JSONL or CSV records')
    .option('--endpoint <url>', `where prompts that are not batch lines go: ${JOB_URLS.join(', ')}`)
    .option(
      '--max-tokens <n>',
      'for every request that does not say otherwise; the same goes for those below',
    )
    .option('--temperature <t>', '0 is greedy')
    .option('--top-p <p>', 'sample from the likeliest tokens that make up this share')
    .option('--seed <n>', 'sample the same way each time')
    .option('--stop <text>', 'end an answer at this text; may be repeated', gather, [])
}

/** The options checked. Throws `usage`, saying which one and what it takes. */
export function readingOf(file: string, options: ReadingOptions): JobFileOptions {
  const format = options.format ?? formatOf(file, options.template)
  const url = options.endpoint ?? '/v1/chat/completions'
  if (!isOneOf(FORMATS, format))
    throw new HearthError('usage', `--format takes ${FORMATS.join(', ')}, not "${format}"`)
  if (!isOneOf<JobUrl>(JOB_URLS, url))
    throw new HearthError('usage', `--endpoint takes ${JOB_URLS.join(', ')}, not "${url}"`)
  if (options.template !== undefined && format !== 'jsonl' && format !== 'csv') {
    throw new HearthError('usage', `--template is for records: JSONL or CSV, not ${format}`)
  }
  return {
    format,
    url,
    defaults: defaultsOf(options),
    ...(options.template === undefined ? {} : { template: options.template }),
  }
}

function defaultsOf({ maxTokens, temperature, topP, seed, stop }: ReadingOptions): Record<string, unknown> {
  const defaults: Record<string, unknown> = {}
  if (maxTokens !== undefined)
    defaults['max_tokens'] = numberOf('--max-tokens', maxTokens, { isWhole: true, least: 1 })
  if (temperature !== undefined)
    defaults['temperature'] = numberOf('--temperature', temperature, { isWhole: false, least: 0 })
  if (topP !== undefined) defaults['top_p'] = numberOf('--top-p', topP, { isWhole: false, least: 0 })
  if (seed !== undefined) defaults['seed'] = numberOf('--seed', seed, { isWhole: true, least: 0 })
  if (stop.length > 0) defaults['stop'] = stop
  return defaults
}

function numberOf(
  name: string,
  text: string,
  { isWhole, least }: { isWhole: boolean; least: number },
): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value >= least && (!isWhole || Number.isInteger(value)))
    return value
  throw new HearthError(
    'usage',
    `${name} takes a ${isWhole ? 'whole ' : ''}number from ${least}, not "${text}"`,
  )
}

function isOneOf<T extends string>(values: readonly T[], value: string): value is T {
  return (values as readonly string[]).includes(value)
}
