// Hostile results that the protocol allows, and what every command does with the journal that took them.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { decode, encode } from '@ipld/dag-cbor'
import { RESULT_TOKENS_MAX } from '../../src/base/limits.ts'
import { pick, randomInteger, seededRandom, type Random } from '../../src/base/random.ts'
import { Journal } from '../../src/tasks/journal/journal.ts'
import { writeOutputFile } from '../../src/tasks/journal/output-file.ts'
import { checkedResult } from '../../src/tasks/wire/checked-result.ts'
import { wireForm, workerMessageSchema, type TaskResult } from '../../src/tasks/wire/task-messages.ts'

/** Results of one message, and requests of one journal. */
const TOGETHER = 256
const REQUESTS_PER_JOURNAL = 20_000

const BODIES = [
  '',
  '{',
  'null',
  '[]',
  '"x"',
  '{}',
  '{"a":1e999}',
  '{"a":-0,"b":9007199254740993}',
  '{"__proto__":{"a":1},"constructor":1}',
  '{"a":"\\ud800"}',
  '{"a":1,"a":2}',
  '\u0000',
  ' {"a":1}\n',
  '{"code":"request-invalid","message":"too long"}',
  '{"code":"","message":""}',
  '{"code":{"toString":1},"message":[]}',
  '{"id":"x","choices":[{"message":{"content":"hello"}}],"usage":{"total_tokens":-1}}',
]
const COUNTS = [0, 1, RESULT_TOKENS_MAX, RESULT_TOKENS_MAX + 1, Number.MAX_SAFE_INTEGER]
const BRACKETS = ['{"a":', '[']

export interface HostileRun {
  results: number
  seed: number
  /** Where the journals lie while they are used. */
  folder: string
}

export interface HostileOutcome {
  results: number
  /** Those that counted as a failure of their peer. */
  refused: number
  committed: number
  journals: number
}

/**
 * Sends so many results through the wire's schema, the check and the journal, and uses each journal as the commands
 * do. Half of the journals take results unchecked, as a journal of an earlier version did. Throws what breaks.
 */
export async function hostileResults({ results, seed, folder }: HostileRun): Promise<HostileOutcome> {
  const outcome: HostileOutcome = { results: 0, refused: 0, committed: 0, journals: 0 }
  while (outcome.results < results) {
    const random = seededRandom(seed + outcome.journals)
    const count = Math.min(REQUESTS_PER_JOURNAL, results - outcome.results)
    const path = join(folder, `hostile-${outcome.journals}.sqlite`)
    await fillJournal(path, count, random, outcome)
    await useJournal(path)
    outcome.results += count
    outcome.journals += 1
  }
  return outcome
}

async function fillJournal(
  path: string,
  count: number,
  random: Random,
  outcome: HostileOutcome,
): Promise<void> {
  const record = {
    jobId: 'job',
    context: 'facts',
    contextId: 'context',
    inputPath: 'in.jsonl',
    inputSha256: 'aa',
    outputPath: 'out.jsonl',
    createdAtMs: 1,
    isDetached: false,
  }
  const isChecked = outcome.journals % 2 === 0
  const journal = await Journal.create(path, record, requestsOf(count))
  try {
    for (let from = 0; from < count; from += TOGETHER) {
      const to = Math.min(count, from + TOGETHER)
      const leases = Array.from({ length: to - from }, (_, index) => ({ n: from + index, epoch: 1 }))
      const sent = leases.map((key) => hostileResult(key.n, random))
      const received = overTheWire(sent)
      const kept = isChecked
        ? received.map(checkedResult).filter((result) => result.outcome !== 'retry')
        : received
      outcome.refused += received.length - kept.length
      const entries = kept.map((result) => ({ peer: 'mallory', result }))
      const verdicts = journal.commit([{ peer: 'mallory', leases }], entries, 1)
      outcome.committed += verdicts.filter((verdict) => verdict === 'committed').length
    }
  } finally {
    journal.close()
  }
}

/** As a submitter gets them: throws where the protocol does not allow them, so that the run tests what it says. */
function overTheWire(results: readonly TaskResult[]): TaskResult[] {
  const message = workerMessageSchema.parse(
    decode(encode(wireForm({ type: 'results', results: [...results] }))),
  )
  if (message.type !== 'results') throw new Error(`results became ${message.type}`)
  return message.results
}

/** Opens it, counts, tells the causes of errors, and writes the output, each of whose lines must be JSON. */
async function useJournal(path: string): Promise<void> {
  const journal = Journal.open(path)
  if (journal === undefined) throw new Error(`${path} cannot be opened again`)
  const output = `${path}.jsonl`
  try {
    journal.mend(2)
    journal.commonErrors(3)
    journal.resultsByPeer()
    const { committed, promptTokens, completionTokens } = journal.counts()
    if (!Number.isFinite(promptTokens + completionTokens))
      throw new Error(`the sums of ${path} are no numbers`)
    await writeOutputFile(output, 'job', journal.lines())
    // Node's readline would end a line at U+2028, which JSON allows in a string.
    const lines = (await readFile(output, 'utf8')).split('\n').slice(0, -1)
    for (const line of lines) JSON.parse(line)
    if (lines.length !== committed)
      throw new Error(`${path}: ${committed} results are committed, ${lines.length} lines written`)
  } finally {
    journal.close()
    for (const file of [path, `${path}-wal`, `${path}-shm`, output]) await rm(file, { force: true })
  }
}

function hostileResult(n: number, random: Random): TaskResult {
  return {
    n: randomInteger(random, 50) === 0 ? randomInteger(random, n + 1) : n,
    epoch: randomInteger(random, 50) === 0 ? 1 + randomInteger(random, 3) : 1,
    outcome: pick(random, ['ok', 'bad-request'] as const) ?? 'ok',
    statusCode: 100 + randomInteger(random, 500),
    body: hostileBody(random),
    promptTokens: tokens(random),
    completionTokens: tokens(random),
  }
}

function tokens(random: Random): number {
  const isAny = randomInteger(random, 2) === 0
  return isAny ? randomInteger(random, Number.MAX_SAFE_INTEGER) : (pick(random, COUNTS) ?? 0)
}

function hostileBody(random: Random): string {
  const known = pick(random, BODIES) ?? ''
  switch (randomInteger(random, 5)) {
    case 0:
      return known
    case 1: {
      const levels = 1 + randomInteger(random, randomInteger(random, 100) === 0 ? 5_000 : 80)
      const bracket = pick(random, BRACKETS) ?? '['
      return bracket.repeat(levels) + '1' + (bracket === '[' ? ']' : '}').repeat(levels)
    }
    case 2:
      return JSON.stringify({ code: anyText(random), message: anyText(random), [anyText(random)]: known })
    case 3: {
      const cut = randomInteger(random, known.length + 1)
      return known.slice(0, cut) + anyText(random) + known.slice(cut)
    }
    default:
      return `{"choices":[{"text":${JSON.stringify(anyText(random))}}]}`
  }
}

/** Text of any units: surrogates without a partner, control characters, line separators. */
function anyText(random: Random): string {
  const length = randomInteger(random, 12)
  let text = ''
  for (let unit = 0; unit < length; unit += 1) {
    const isOdd = randomInteger(random, 3) === 0
    text += String.fromCharCode(isOdd ? randomInteger(random, 0x1_00_00) : randomInteger(random, 0x80))
  }
  return text
}

async function* requestsOf(count: number): AsyncGenerator<{
  line: number
  customId: string
  url: string
  body: string
}> {
  for (let n = 0; n < count; n += 1)
    yield { line: n + 1, customId: `c${n}`, url: '/v1/completions', body: '{}' }
}
