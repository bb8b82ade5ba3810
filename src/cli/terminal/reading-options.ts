import { Option, type Command } from 'commander'
import { HearthError } from '../../base/errors.ts'
import { numberOption } from '../../base/number-option.ts'
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
  /** The body's schema takes neither 0 nor more than this. */
  aboveZeroTo?: number
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
    aboveZeroTo: 1,
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
    aboveZeroTo: 100,
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
  format?: JobFormat
  template?: string
  endpoint?: JobUrl
  stop: string[]
}

const FORMATS: readonly JobFormat[] = ['batch', 'text', 'jsonl', 'csv']

/** Adds the options that say how a job file is read. */
export function addReadingOptions(command: Command): Command {
  const gather = (value: string, values: string[]): string[] => [...values, value]
  command
    .addOption(
      new Option('--format <format>', 'what the file holds (default: by its name, and --template)').choices(
        FORMATS,
      ),
    )
    .option('--template <text>', 'a prompt with {field} in it, filled from JSONL or CSV records')
    .addOption(new Option('--endpoint <url>', 'where prompts that are not batch lines go').choices(JOB_URLS))
  for (const { flag, help } of Object.values(SAMPLING_OPTIONS)) command.option(flag, help)
  return command.option('--stop <text>', 'end an answer at this text; may be repeated', gather, [])
}

/** The options checked. Throws `usage`, saying which one and what it takes. */
export function readingOf(file: string, options: ReadingOptions): JobFileOptions {
  const format = options.format ?? formatOf(file, options.template)
  const url = options.endpoint ?? '/v1/chat/completions'
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
    if (text !== undefined) defaults[option.field] = settingOf(option, text)
  }
  if (options.stop.length > 0) defaults['stop'] = options.stop
  return defaults
}

function settingOf(option: SamplingOption, text: string): number {
  const value = numberOption(flagOf(option), text, option)
  const { aboveZeroTo } = option
  if (aboveZeroTo === undefined || (value > 0 && value <= aboveZeroTo)) return value
  throw new HearthError(
    'usage',
    `${flagOf(option)} takes a number above 0, up to ${aboveZeroTo}, not "${text}"`,
  )
}

function flagOf({ flag }: SamplingOption): string {
  return flag.split(' ', 1).join()
}
