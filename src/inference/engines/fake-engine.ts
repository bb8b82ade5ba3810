// An engine without a model: its answers are a pure function of the request, and it takes the time that
// its timing model says. For tests and benches of everything around the engine.
import { createHash } from 'node:crypto'
import { sleep } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { SlotGate } from '../batching/slot-gate.ts'
import type {
  Engine,
  EngineComponents,
  EngineFacts,
  EngineOptions,
  EngineRequest,
  EngineResult,
  EngineRunOptions,
  FakeTiming,
  LoadEngine,
} from '../contract/engine.ts'

const TIMING: FakeTiming = { loadMs: 0, prefillMs: 0, tokenMs: 0 }

const FACTS: EngineFacts = { slots: 8, engine: 'fake', numericClass: 'fake/1', contextLengthMax: 4_096 }

/**
 * Prompts that make it fail on purpose, as native code would. `hang` blocks the process for ever;
 * `crash` ends it; `bad` is refused as a request.
 */
const FAILURES: Readonly<Record<string, () => EngineResult | never>> = {
  '!hang': () => {
    for (;;);
  },
  '!crash': () => process.exit(139),
  '!bad': () => refuse('the fake engine refuses this prompt'),
}

class FakeEngine implements Engine {
  readonly facts: EngineFacts
  readonly #components: EngineComponents
  readonly #timing: FakeTiming
  readonly #slots: SlotGate

  constructor(components: EngineComponents, timing: FakeTiming, slots: number) {
    this.#components = components
    this.#timing = timing
    this.facts = { ...FACTS, slots }
    this.#slots = new SlotGate(slots)
  }

  async run(request: EngineRequest, options: EngineRunOptions = {}): Promise<EngineResult> {
    const prompts = promptsOf(request)
    if (prompts === undefined) return refuse(`the request to ${request.url} has no prompt`)
    return await this.#slots.hold(options.signal, async () => {
      options.onProgress?.()
      const tokens = Math.min(tokensMaxOf(request.body), 8)
      const ms = this.#timing.prefillMs + tokens * this.#timing.tokenMs
      if (ms > 0) await sleep(this.#components.clock, ms, options.signal)
      const failed = prompts.map((prompt) => FAILURES[prompt]?.()).find((result) => result !== undefined)
      return failed ?? answer(request, prompts, tokens)
    })
  }

  async close(): Promise<void> {}
}

/** Takes `timing.loadMs` and reads nothing from the folder. */
export const loadFakeEngine: LoadEngine = async (_folder, options: EngineOptions, components) => {
  const timing = { ...TIMING, ...options.fake }
  if (timing.loadMs > 0) await sleep(components.clock, timing.loadMs)
  return new FakeEngine(components, timing, options.slots ?? FACTS.slots)
}

function promptsOf({ body }: EngineRequest): string[] | undefined {
  if (typeof body !== 'object' || body === null) return undefined
  if ('prompt' in body) {
    const { prompt } = body
    if (typeof prompt === 'string') return [prompt]
    if (Array.isArray(prompt) && prompt.length > 0)
      return typeof prompt[0] === 'number' ? [prompt.join(' ')] : prompt.map(String)
  }
  const message: unknown =
    'messages' in body && Array.isArray(body.messages) ? body.messages.at(-1) : undefined
  const content = (message as { content?: unknown } | null | undefined)?.content
  return typeof content === 'string' ? [content] : undefined
}

function tokensMaxOf(body: unknown): number {
  const { max_tokens: tokensMax } = body as { max_tokens?: unknown }
  return typeof tokensMax === 'number' && tokensMax >= 1 ? tokensMax : Infinity
}

/** `tokens` words of each prompt's hash: the same prompt, the same answer, on every peer. */
function answer({ url, body }: EngineRequest, prompts: string[], tokens: number): EngineResult {
  const isChat = url === '/v1/chat/completions'
  const digests = prompts.map((prompt) => createHash('sha256').update(prompt).digest('hex'))
  const choices = digests.map((digest, index) => {
    const words = Array.from({ length: tokens }, (_, token) => digest.slice(token * 8, token * 8 + 8))
    const text = words.join(' ')
    const content = isChat ? { message: { role: 'assistant', content: text } } : { text }
    return { index, ...content, logprobs: null, finish_reason: 'stop' }
  })
  const usage = {
    promptTokens: prompts.reduce((sum, prompt) => sum + prompt.split(/\s+/).length, 0),
    completionTokens: tokens * prompts.length,
  }
  return {
    ok: true,
    statusCode: 200,
    usage,
    body: {
      id: `${isChat ? 'chatcmpl' : 'cmpl'}-${digests[0]?.slice(0, 24)}`,
      object: isChat ? 'chat.completion' : 'text_completion',
      created: 0,
      model: (body as { model?: unknown }).model ?? 'fake',
      choices,
      usage: {
        prompt_tokens: usage.promptTokens,
        completion_tokens: usage.completionTokens,
        total_tokens: usage.promptTokens + usage.completionTokens,
      },
    },
  }
}

function refuse(message: string): EngineResult {
  const { code } = new HearthError('request-invalid', message)
  return { ok: false, statusCode: 400, error: { code, message } }
}
