// Measures the cost of one bad line in 60 for the lines beside it. An engine host runs each job as a worker does: twice its
// slots of requests at a time. A job without bad lines, of as many lines, runs right before each.
import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { silentLogger } from '../src/base/log/logger.ts'
import { systemClock } from '../src/base/system-clock.ts'
import type { EngineRequest } from '../src/inference/contract/engine.ts'
import { EngineHost } from '../src/inference/host/engine-host.ts'
import type { EngineHostOptions } from '../src/inference/host/engine-host-options.ts'
import { newFolder } from '../testing/folders/new-folder.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric } from './support/harness.ts'

const FACTS = join(import.meta.dirname, '../models/facts')
const BAD_EVERY = 60
const SLOTS = 8
/** About the time of a request on a small model. */
const FAKE = { prefillMs: 40, tokenMs: 20 }

const chat = (content: string): EngineRequest => ({
  url: '/v1/chat/completions',
  body: { messages: [{ role: 'user', content }], max_tokens: 8 },
})
const completion = (prompt: unknown): EngineRequest => ({
  url: '/v1/completions',
  body: { prompt, max_tokens: 8 },
})

/** A kind of bad line, and the engine that it meets. */
const KINDS: Readonly<Record<string, { bad: EngineRequest; engine: 'auto' | 'fake' }>> = {
  'the template throws': { bad: chat('planted'), engine: 'auto' },
  'a token beyond the vocabulary': { bad: completion([1, 100_257]), engine: 'auto' },
  'a prompt beyond the positions': { bad: completion(Array(600).fill(7)), engine: 'auto' },
  'the engine process crashes': { bad: completion('!crash'), engine: 'fake' },
}

interface Job {
  seconds: number
  /** Good lines that got no answer. */
  lost: number
}

/** The model of models/facts, with a chat template that throws for one prompt. */
function makeContext(folder: string): void {
  cpSync(FACTS, folder, { recursive: true })
  const config = '{% if messages[0].content == "planted" %}{{ raise_exception("planted") }}{% endif %}'
  const text = '{% for message in messages %}<|user|>{{ message.content }}{% endfor %}<|assistant|>'
  writeFileSync(join(folder, 'chat_template.jinja'), config + text)
}

async function runJob(host: EngineHost, lines: number, bad: EngineRequest | undefined): Promise<Job> {
  const startedAtMs = systemClock.nowMs()
  let next = 0
  let lost = 0
  const pull = async (): Promise<void> => {
    while (next < lines) {
      const index = next++
      const isBad = bad !== undefined && index % BAD_EVERY === BAD_EVERY / 2
      const request = isBad ? bad : chat(`Gold is metal number ${index}.`)
      const isAnswered = await host.run(request).then(
        ({ ok }) => ok,
        () => false,
      )
      if (!isBad && !isAnswered) lost += 1
    }
  }
  await Promise.all(Array.from({ length: 2 * SLOTS }, pull))
  return { seconds: (systemClock.nowMs() - startedAtMs) / 1000, lost }
}

async function measure(kind: string, folder: string, options: BenchOptions): Promise<Metric[]> {
  const { bad, engine } = KINDS[kind] as { bad: EngineRequest; engine: 'auto' | 'fake' }
  const lines = options.quick ? BAD_EVERY : 10 * BAD_EVERY
  const host = new EngineHost({ clock: systemClock, log: silentLogger }, {
    folder,
    engine,
    slots: SLOTS,
    fake: FAKE,
  } satisfies EngineHostOptions)
  await host.start()
  try {
    await runJob(host, BAD_EVERY, undefined)
    const ratios: number[] = []
    const lost: number[] = []
    for (let run = 0; run < options.runs; run += 1) {
      const clean = await runJob(host, lines, undefined)
      const mixed = await runJob(host, lines, bad)
      options.note(`${kind}: ${clean.seconds.toFixed(2)} s without, ${mixed.seconds.toFixed(2)} s with`)
      ratios.push(mixed.seconds / clean.seconds)
      lost.push(mixed.lost)
    }
    const time = `time of a job with one bad line in ${BAD_EVERY} over that without: ${kind}`
    return [
      metricOf({ name: time, unit: '×', better: 'lower', bound: 1.5 }, ratios),
      metricOf({ name: `good lines without an answer: ${kind}`, unit: '', better: 'lower', bound: 0 }, lost),
    ]
  } finally {
    await host.stop()
  }
}

const bench: Bench = {
  question: 'What does one bad line in 60 cost the other lines?',
  async run(options) {
    const folder = newFolder('bad-lines')
    makeContext(folder)
    const metrics: Metric[] = []
    try {
      for (const kind of Object.keys(KINDS)) {
        if (options.only === undefined || kind.includes(options.only))
          metrics.push(...(await measure(kind, folder, options)))
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
    return metrics
  },
}
export default bench
