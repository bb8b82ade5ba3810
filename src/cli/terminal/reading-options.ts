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

/** A sampling setting of a whole job: its field in a request body, and its bounds. */
interface SamplingOption {
  flag: string
  field: string
  isWhole: boolean
  least: number
  /** When present, the value must be above 0 and at most this, as in the schema of the body. */
  aboveZeroTo?: number
  help: string
}

type SamplingName = 'maxTokens' | 'temperature' | 'topP' | 'topK' | 'minP' | 'repetitionPenalty' | 'seed'

/** Keyed by the name that commander gives each option. */
const SAMPLING_OPTIONS: Readonly<Record<SamplingName, SamplingOption>> = {
  maxTokens: {
    flag: '--max-tokens <n>',
    field: 'max_tokens',
    isWhole: true,
    least: 1,
    help: 'default for requests that set no max_tokens; the sampling options below are defaults, too',
  },
  temperature: {
    flag: '--temperature <t>',
    field: 'temperature',
    isWhole: false,
    least: 0,
    help: '0 always takes the likeliest token',
  },
  topP: {
    flag: '--top-p <p>',
    field: 'top_p',
    isWhole: false,
    least: 0,
    aboveZeroTo: 1,
    help: 'sample from the likeliest tokens whose probabilities add up to this share',
  },
  topK: {
    flag: '--top-k <n>',
    field: 'top_k',
    isWhole: true,
    least: 0,
    help: 'sample from the n likeliest tokens; 0 means all',
  },
  minP: {
    flag: '--min-p <p>',
    field: 'min_p',
    isWhole: false,
    least: 0,
    help: 'drop tokens whose probability is below this share of the likeliest one',
  },
  repetitionPenalty: {
    flag: '--repetition-penalty <r>',
    field: 'repetition_penalty',
    isWhole: false,
    least: 0,
    aboveZeroTo: 100,
    help: 'a value above 1 makes repeated tokens less likely',
  },
  seed: {
    flag: '--seed <n>',
    field: 'seed',
    isWhole: true,
    least: 0,
    help: 'make sampling repeatable',
  },
}

/** The options of `submit` that say how to read the job file. */
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
      new Option(
        '--format <format>',
        'the format of the file (default: from its name and --template)',
      ).choices(FORMATS),
    )
    .option('--template <text>', 'a prompt with {field} placeholders, filled from JSONL or CSV records')
    .addOption(
      new Option('--endpoint <url>', 'the API endpoint for prompts that are not batch lines').choices(
        JOB_URLS,
      ),
    )
  for (const { flag, help } of Object.values(SAMPLING_OPTIONS)) command.option(flag, help)
  return command.option('--stop <text>', 'end an answer at this text; may be repeated', gather, [])
}

/** Checks the options. Throws `usage` with the option and the values it takes. */
export function readingOf(file: string, options: ReadingOptions): JobFileOptions {
  const format = options.format ?? formatOf(file, options.template)
  const url = options.endpoint ?? '/v1/chat/completions'
  if (options.template !== undefined && format !== 'jsonl' && format !== 'csv') {
    throw new HearthError(
      'usage',
      `--template works with JSONL and CSV records, and the format is ${format}. Add --format jsonl or --format csv, or leave out --template`,
    )
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
    `${flagOf(option)} is "${text}", but must be a number above 0 and at most ${aboveZeroTo}`,
  )
}

function flagOf({ flag }: SamplingOption): string {
  return flag.split(' ', 1).join()
}
