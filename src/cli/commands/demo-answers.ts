import { readFile } from 'node:fs/promises'
import { parseVerdict } from '../../../models/facts/verdict.ts'
import { systemClock } from '../../base/system-clock.ts'
import { systemRandom } from '../../base/system-random.ts'
import { silentLogger } from '../../base/log/logger.ts'
import { EngineHost } from '../../inference/host/engine-host.ts'

/** The answers of an output file: their text by custom_id, and the number of lines. */
export interface Answers {
  lines: number
  byId: Map<string, string>
}

interface OutputLine {
  custom_id: string
  response: { body: { choices: { message: { content: string } }[] } } | null
  error: { code: string } | null
}
interface InputLine {
  custom_id: string
  url: string
  body: unknown
}

/** Reads a job's output file. A line that is an error counts as the answer "error: <code>". */
export async function readAnswers(path: string): Promise<Answers> {
  const lines = await readLines<OutputLine>(path)
  const byId = new Map(
    lines.map((line) => [
      line.custom_id,
      line.response?.body.choices[0]?.message.content ?? `error: ${line.error?.code ?? ''}`,
    ]),
  )
  return { lines: lines.length, byId }
}

/** The share of answers whose verdict equals the label, in [0, 1]. */
export async function accuracyOf(answers: Answers, labelsPath: string): Promise<number> {
  const labels = await readLines<{ custom_id: string; verdict: string }>(labelsPath)
  const known = labels.filter((label) => answers.byId.has(label.custom_id))
  const right = known.filter(
    (label) => parseVerdict(answers.byId.get(label.custom_id) ?? '') === label.verdict,
  )
  return right.length / Math.max(1, known.length)
}

/** Runs a job file on one local engine without peers: the reference for the swarm's answers. */
export async function answerAlone(modelFolder: string, inputPath: string): Promise<Answers> {
  const components = { clock: systemClock, random: systemRandom, log: silentLogger }
  const host = new EngineHost(components, { folder: modelFolder })
  try {
    await host.start()
    const lines = await readLines<InputLine>(inputPath)
    const answers = await inParallel(lines, 256, async (line) => {
      const result = await host.run({ url: line.url, body: line.body })
      const body = result.ok
        ? (result.body as unknown as NonNullable<OutputLine['response']>['body'])
        : undefined
      return [line.custom_id, body?.choices[0]?.message.content ?? 'error'] as const
    })
    return { lines: lines.length, byId: new Map(answers) }
  } finally {
    await host.stop()
  }
}

/** How many answers are identical in both. */
export function countEqual(one: Answers, other: Answers): number {
  return [...one.byId].filter(([id, text]) => other.byId.get(id) === text).length
}

async function readLines<T>(path: string): Promise<T[]> {
  const text = await readFile(path, 'utf8')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}

async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  run: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++)
      results[index] = await run(items[index] as T)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane))
  return results
}
