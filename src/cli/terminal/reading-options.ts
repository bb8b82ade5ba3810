import { Option, type Command } from 'commander'
import { HearthError } from '../../base/errors.ts'
import { numberOption } from '../../base/number-option.ts'
import {
  REQUEST_BOUNDS,
  STOP_STRING_CHARACTERS_MAX,
  STOP_STRINGS_MAX,
  type BoundedSetting,
} from '../../inference/contract/request-bounds.ts'
import {
  formatOf,
  JOB_URLS,
  type JobFileOptions,
  type JobFormat,
  type JobUrl,
} from '../../tasks/job/job-file.ts'

/** A sampling setting of a whole job. Its field in a request body has the bounds of the option. */
interface SamplingOption {
  flag: string
  field: BoundedSetting
  help: string
}

type SamplingName = 'maxTokens' | 'temperature' | 'topP' | 'topK' | 'minP' | 'repetitionPenalty' | 'seed'

/** Keyed by the name that commander gives each option. */
const SAMPLING_OPTIONS: Readonly<Record<SamplingName, SamplingOption>> = {
  maxTokens: {
    flag: '--max-tokens <n>',
    field: 'max_tokens',
    help: 'default for requests that set no max_tokens; the sampling options below are defaults, too',
  },
  temperature: {
    flag: '--temperature <t>',
    field: 'temperature',
    help: '0 always takes the likeliest token',
  },
  topP: {
    flag: '--top-p <p>',
    field: 'top_p',
    help: 'sample from the likeliest tokens whose probabilities add up to this share',
  },
  topK: {
    flag: '--top-k <n>',
    field: 'top_k',
    help: 'sample from the n likeliest tokens; 0 means all',
  },
  minP: {
    flag: '--min-p <p>',
    field: 'min_p',
    help: 'drop tokens whose probability is below this share of the likeliest one',
  },
  repetitionPenalty: {
    flag: '--repetition-penalty <r>',
    field: 'repetition_penalty',
    help: 'a value above 1 makes repeated tokens less likely',
  },
  seed: {
    flag: '--seed <n>',
    field: 'seed',
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
  const defaults = defaultsOf(options)
  const [setting] = Object.keys(defaults)
  if (url === '/v1/embeddings' && format !== 'batch' && setting !== undefined) {
    throw new HearthError(
      'usage',
      `--${setting.replaceAll('_', '-')} cannot be combined with --endpoint ${url}, because an embedding has no such setting. Leave one of them out`,
    )
  }
  return {
    format,
    url,
    defaults,
    ...(options.template === undefined ? {} : { template: options.template }),
  }
}

function defaultsOf(options: ReadingOptions): Record<string, unknown> {
  const defaults: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(SAMPLING_OPTIONS)) {
    const text = options[name as SamplingName]
    if (text !== undefined)
      defaults[option.field] = numberOption(flagOf(option), text, REQUEST_BOUNDS[option.field])
  }
  if (options.stop.length > 0) defaults['stop'] = stopOf(options.stop)
  return defaults
}

function stopOf(texts: string[]): string[] {
  const isUsable = texts.every((text) => text !== '' && text.length <= STOP_STRING_CHARACTERS_MAX)
  if (isUsable && texts.length <= STOP_STRINGS_MAX) return texts
  throw new HearthError(
    'usage',
    `--stop takes a text of 1 to ${STOP_STRING_CHARACTERS_MAX} characters, and may be given ${STOP_STRINGS_MAX} times`,
  )
}

function flagOf({ flag }: SamplingOption): string {
  return flag.split(' ', 1).join()
}
