import type { Command } from 'commander'
import { HearthError } from '../../base/errors.ts'
import {
  formatOf,
  JOB_URLS,
  type JobFileOptions,
  type JobFormat,
  type JobUrl,
} from '../../tasks/job/job-file.ts'

/** A setting of sampling that a whole job may have: its name in a request's body, and what it may be. */
interface SamplingOption {
  flag: string
  field: string
  isWhole: boolean
  least: number
  help: string
}

type SamplingName = 'maxTokens' | 'temperature' | 'topP' | 'topK' | 'minP' | 'repetitionPenalty' | 'seed'

/** By the name that the command line's reader gives each. */
const SAMPLING_OPTIONS: Readonly<Record<SamplingName, SamplingOption>> = {
  maxTokens: {
    flag: '--max-tokens <n>',
    field: 'max_tokens',
    isWhole: true,
    least: 1,
    help: 'for every request that does not say otherwise; the same goes for those below',
  },
  temperature: {
    flag: '--temperature <t>',
    field: 'temperature',
    isWhole: false,
    least: 0,
    help: '0 is greedy',
  },
  topP: {
    flag: '--top-p <p>',
    field: 'top_p',
    isWhole: false,
    least: 0,
    help: 'sample from the likeliest tokens that make up this share',
  },
  topK: {
    flag: '--top-k <n>',
    field: 'top_k',
    isWhole: true,
    least: 0,
    help: 'sample from the n likeliest tokens; 0 is no bound',
  },
  minP: {
    flag: '--min-p <p>',
    field: 'min_p',
    isWhole: false,
    least: 0,
    help: 'leave out tokens less likely than this share of the likeliest',
  },
  repetitionPenalty: {
    flag: '--repetition-penalty <r>',
    field: 'repetition_penalty',
    isWhole: false,
    least: 0,
    help: 'over 1 makes tokens that were there already less likely',
  },
  seed: {
    flag: '--seed <n>',
    field: 'seed',
    isWhole: true,
    least: 0,
    help: 'sample the same way each time',
  },
}

/** How `submit` reads its file, as given on the command line. */
export interface ReadingOptions extends Partial<Record<SamplingName, string>> {
  format?: string
  template?: string
  endpoint?: string
  stop: string[]
}

const FORMATS: readonly JobFormat[] = ['batch', 'text', 'jsonl', 'csv']

/** Adds the options that say how a job file is read. */
export function addReadingOptions(command: Command): Command {
  const gather = (value: string, values: string[]): string[] => [...values, value]
  command
    .option('--format <format>', `${FORMATS.join(', ')} (default: by the file’s name, and --template)`)
    .option('--template <text>', 'a prompt with {field} in it, filled from JSONL or CSV records')
    .option('--endpoint <url>', `where prompts that are not batch lines go: ${JOB_URLS.join(', ')}`)
  for (const { flag, help } of Object.values(SAMPLING_OPTIONS)) command.option(flag, help)
  return command.option('--stop <text>', 'end an answer at this text; may be repeated', gather, [])
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

function defaultsOf(options: ReadingOptions): Record<string, unknown> {
  const defaults: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(SAMPLING_OPTIONS)) {
    const text = options[name as SamplingName]
    if (text !== undefined) defaults[option.field] = numberOf(option, text)
  }
  if (options.stop.length > 0) defaults['stop'] = options.stop
  return defaults
}

function numberOf({ flag, isWhole, least }: SamplingOption, text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value >= least && (!isWhole || Number.isInteger(value)))
    return value
  const [name] = flag.split(' ')
  throw new HearthError(
    'usage',
    `${name} takes a ${isWhole ? 'whole ' : ''}number from ${least}, not "${text}"`,
  )
}

function isOneOf<T extends string>(values: readonly T[], value: string): value is T {
  return (values as readonly string[]).includes(value)
}
