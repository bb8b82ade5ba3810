import { parse as parseCsv } from 'csv-parse'
import { pipe } from 'it-pipe'
import { pipeline } from 'node:stream'
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { nesting } from '../../base/json-nesting.ts'
import { JSON_DEPTH_MAX, REQUEST_LINE_BYTES_MAX } from '../../base/limits.ts'
import { exactNumberText, parseExact } from './exact-json.ts'
import { readLines, type FileLine } from './read-lines.ts'
import { Template } from './template.ts'

/** A request of a job file. */
export interface JobLine {
  /** Its line number in the file, from 1. */
  line: number
  customId: string
  url: string
  /** The request body as JSON text. */
  body: string
}

/** Why a line is not a request. */
export interface LineError {
  line: number
  message: string
}

/** The content of one line of a job file. */
export type JobEntry = JobLine | LineError

/** The endpoints that a request may name. */
export const JOB_URLS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'] as const
export type JobUrl = (typeof JOB_URLS)[number]

/** Why the engine of the job's context would refuse a body; undefined when it would run it. */
export type BodyCheck = (url: JobUrl, body: unknown) => string | undefined

/** batch: OpenAI batch JSONL. text: a prompt a line. jsonl, csv: records that fill a template. */
export type JobFormat = 'batch' | 'text' | 'jsonl' | 'csv'

export interface JobFileOptions {
  format: JobFormat
  /** Fills records; only with jsonl and csv. */
  template?: string | undefined
  /** The endpoint for prompts that are not batch lines. */
  url: JobUrl
  /** Sampling options for every request, as `max_tokens`; a line's own come first. */
  defaults: Readonly<Record<string, unknown>>
}

export const BATCH_FILE: JobFileOptions = { format: 'batch', url: '/v1/chat/completions', defaults: {} }

/** Infers the format from the file's name and the presence of a template. */
export function formatOf(path: string, template: string | undefined): JobFormat {
  const extension = /\.([^.]+?)(?:\.(?:gz|zst))?$/i.exec(path)?.[1]?.toLowerCase()
  if (template !== undefined) return extension === 'csv' ? 'csv' : 'jsonl'
  return extension === 'txt' ? 'text' : 'batch'
}

/**
 * The requests of a job file, read as a stream: each is a request or the reason why it is not. Blank
 * lines are passed over. Throws `input-invalid` when the file cannot be read, `usage` for options
 * that do not fit together.
 * @param check what the engine says of each body
 */
export function readJobFile(
  path: string,
  options: JobFileOptions = BATCH_FILE,
  check: BodyCheck = () => undefined,
): AsyncGenerator<JobEntry> {
  const requestOf = requestReader({ ...options, check })
  return pipe(
    readLines(path),
    (lines) => valuesOf(lines, path, options.format),
    (values) => requestsOf(values, requestOf),
  )
}

/** Whether an entry of a job file is a line that cannot be run. */
export function isLineError(entry: JobEntry): entry is LineError {
  return 'message' in entry
}

/** The content of a line, or the reason why it cannot be read. */
interface LineValue {
  line: number
  value?: unknown
  message?: string
}

function valuesOf(
  lines: AsyncIterable<FileLine>,
  path: string,
  format: JobFormat,
): AsyncGenerator<LineValue> {
  if (format === 'csv') return csvRecords(lines, path)
  return lineValues(lines, format === 'text' ? promptText : parseJson)
}

async function* lineValues(
  lines: AsyncIterable<FileLine>,
  read: (text: string) => Omit<LineValue, 'line'>,
): AsyncGenerator<LineValue> {
  for await (const entry of lines) {
    if ('message' in entry) yield entry
    else if (entry.text.trim() !== '') yield { line: entry.line, ...read(entry.text) }
  }
}

async function* requestsOf(
  values: AsyncIterable<LineValue>,
  requestOf: (line: number, value: unknown) => JobEntry,
): AsyncGenerator<JobEntry> {
  for await (const { line, value, message } of values)
    yield message === undefined ? requestOf(line, value) : { line, message }
}

interface RequestOptions extends JobFileOptions {
  check: BodyCheck
}

/** How a value becomes a request. Throws `usage` for options that do not fit together. */
function requestReader(options: RequestOptions): (line: number, value: unknown) => JobEntry {
  const { format } = options
  if (format === 'batch') return (line, value) => batchLine(line, value, options)
  if (format === 'text') return (line, value) => promptLine(line, `line-${line}`, value as string, options)
  if (options.template === undefined)
    throw new HearthError('usage', `a ${format} file of records needs --template 'text with {field}'`)
  const template = new Template(options.template)
  return (line, value) => recordLine(line, value, template, options)
}

const batchSchema = z.object({
  custom_id: z
    .string()
    .min(1, 'custom_id must not be empty')
    .max(512, 'custom_id is longer than 512 characters'),
  method: z.literal('POST', 'method must be "POST"').optional(),
  url: z.preprocess(jobUrlOf, z.enum(JOB_URLS, `url must be one of ${JOB_URLS.join(', ')}`)),
  body: z.record(z.string(), z.unknown(), 'body must be an object'),
})

/** An endpoint as OpenAI, Azure (`/openai/deployments/NAME/chat/completions?api-version=…`) or a whole address write it. */
const ENDPOINT =
  /^(?:https?:\/\/[^/?#]+)?(?:\/openai)?(?:\/v1|\/deployments\/[^/?#]+)?\/(chat\/completions|completions|embeddings)(?:\?.*)?$/

function jobUrlOf(url: unknown): unknown {
  const endpoint = typeof url === 'string' ? ENDPOINT.exec(url)?.[1] : undefined
  return endpoint === undefined ? url : `/v1/${endpoint}`
}

function batchLine(line: number, value: unknown, { defaults, check }: RequestOptions): JobEntry {
  const checked = batchSchema.safeParse(value)
  if (!checked.success) return { line, message: issuesOf(checked.error) }
  const { custom_id: customId, url, body } = checked.data
  if (body['stream'] === true) return { line, message: 'stream: true has no meaning in a batch' }
  return checkedLine({ line, customId, url }, { ...defaults, ...body }, check)
}

/** The request when the engine takes its body, or the reason why not. */
function checkedLine(
  request: Omit<JobLine, 'body'> & { url: JobUrl },
  body: object,
  check: BodyCheck,
): JobEntry {
  const text = JSON.stringify(body)
  // A number that is kept as text is none yet. Few lines have one, so only a refused body is parsed as the engine does.
  const message = check(request.url, body) === undefined ? undefined : check(request.url, JSON.parse(text))
  return message === undefined ? { ...request, body: text } : { line: request.line, message }
}

function issuesOf(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join('.') || 'line'}: ${issue.message}`).join('; ')
}

function recordLine(line: number, value: unknown, template: Template, options: RequestOptions): JobEntry {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return { line, message: 'not a record: each line must be a JSON object' }
  const record = value as Record<string, unknown>
  const filled = template.fill(record)
  if ('missing' in filled)
    return { line, message: `the record has no field "${filled.missing}", which the template uses` }
  const id = record['custom_id'] ?? record['id']
  const customId = typeof id === 'string' ? id : (exactNumberText(id) ?? `line-${line}`)
  return promptLine(line, customId, filled.text, options)
}

function promptLine(
  line: number,
  customId: string,
  prompt: string,
  { url, defaults, check }: RequestOptions,
): JobEntry {
  const input =
    url === '/v1/chat/completions'
      ? { messages: [{ role: 'user', content: prompt }] }
      : url === '/v1/completions'
        ? { prompt }
        : { input: prompt }
  return checkedLine({ line, customId, url }, { ...defaults, ...input }, check)
}

function promptText(text: string): { value: string } {
  return { value: text.replace(/\r$/, '') }
}

function parseJson(text: string): { value: unknown } | { message: string } {
  if (nesting(text) > JSON_DEPTH_MAX) return { message: `nested deeper than ${JSON_DEPTH_MAX} levels` }
  try {
    return { value: parseExact(text) }
  } catch (error) {
    return { message: `not JSON: ${(error as Error).message}` }
  }
}

/** CSV records by the names in its first row; `line` is the line on which the record begins. */
async function* csvRecords(lines: AsyncIterable<FileLine>, path: string): AsyncGenerator<LineValue> {
  const parser = parseCsv({
    columns: true,
    bom: true,
    info: true,
    max_record_size: REQUEST_LINE_BYTES_MAX,
    skip_empty_lines: true,
  })
  // pipeline hands an error of either side to the parser, from which the loop below throws it.
  pipeline(csvText(lines, path), parser, () => {})
  let nextLine = 2
  try {
    for await (const { record, info } of parser as AsyncIterable<{
      record: Record<string, string>
      info: { lines: number }
    }>) {
      yield { line: nextLine, value: record }
      nextLine = info.lines + 1
    }
  } catch (error) {
    if (error instanceof HearthError) throw error
    yield { line: nextLine, message: `not CSV: ${(error as Error).message}` }
  }
}

async function* csvText(lines: AsyncIterable<FileLine>, path: string): AsyncGenerator<string> {
  for await (const entry of lines) {
    if ('message' in entry)
      throw new HearthError('input-invalid', `${path}, line ${entry.line}: ${entry.message}`)
    yield `${entry.text}\n`
  }
}
