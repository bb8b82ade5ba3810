import { describe, expect, test } from 'vitest'
import { readEmbeddingRequest } from '../../../src/inference/text/embedding-request.ts'
import { readTextRequest, type TextRequest } from '../../../src/inference/text/openai-request.ts'

const user = { role: 'user', content: 'Hi' }

function read(body: object): TextRequest {
  return readTextRequest({ url: '/v1/chat/completions', body: { messages: [user], ...body } })
}

describe('a setting that is null or neutral', () => {
  test.each([
    { model: null },
    { tools: [] },
    { tools: null, tool_choice: null },
    { tool_choice: 'none' },
    { logit_bias: {} },
    { logit_bias: null, n: 1, stop: null },
    { modalities: ['text'] },
    { messages: [{ ...user, name: null }] },
    // Every other field of OpenAI's schema of 2026, at null and at its default.
    { functions: [], function_call: 'auto', parallel_tool_calls: true, tool_choice: 'auto' },
    { logit_bias: { 50256: 0 } },
    { stream: false, stream_options: { include_usage: true } },
    { stream_options: null, audio: null, moderation: null, web_search_options: null },
    { n: null, seed: null, top_p: null, temperature: null, max_tokens: null, max_completion_tokens: null },
    { presence_penalty: 0, frequency_penalty: 0, stop: [], response_format: { type: 'text' } },
    { stop: '', logprobs: false, top_logprobs: null },
    { reasoning_effort: 'medium', verbosity: 'medium', prediction: { type: 'content', content: 'x' } },
    { service_tier: 'auto', store: true, metadata: { run: '7' }, user: 'me', safety_identifier: 'a' },
    { prompt_cache_key: 'k', prompt_cache_retention: '24h', prompt_cache_options: { ttl: '30m' } },
    // vLLM's.
    { use_beam_search: false, length_penalty: 1, min_tokens: 0, skip_special_tokens: true, priority: 3 },
    { guided_json: null, truncate_prompt_tokens: null, add_generation_prompt: true },
    { messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi', cache_control: { type: 'x' } }] }] },
  ])('means absent: %j', (body) => {
    expect(read(body)).toEqual(read({}))
  })

  test('means absent in an assistant message as SDKs write it', () => {
    const answer = { role: 'assistant', content: 'yes' }
    const dumped = {
      ...answer,
      refusal: null,
      annotations: [],
      audio: null,
      function_call: null,
      tool_calls: null,
    }
    expect(read({ messages: [user, dumped] })).toEqual(read({ messages: [user, answer] }))
  })

  test.each([
    { tools: [{ type: 'function' }] },
    { logit_bias: { 1: 5 } },
    { modalities: ['audio'] },
    { messages: [{ ...user, tool_calls: [{}] }] },
    { reasoning_effort: 'none' },
    { web_search_options: {} },
    { moderation: { model: 'm' } },
    { audio: { voice: 'v' } },
    { min_tokens: 4 },
    { messages: [{ ...user, refusal: 'no' }] },
    { temprature: 1 },
  ])('is not one that asks for something: %j is refused by name', (body) => {
    const field = Object.keys('messages' in body ? body.messages[0]! : body).at(-1)!
    expect(() => read(body)).toThrow(new RegExp(`${field} is not supported`))
  })

  test('means absent for completions and embeddings, too', () => {
    const completion = { suffix: '', echo: false, best_of: 1, logprobs: null, n: 1, user: 'me', stream: null }
    const url = '/v1/completions'
    expect(readTextRequest({ url, body: { prompt: 'a', ...completion } })).toEqual(
      readTextRequest({ url, body: { prompt: 'a' } }),
    )
    const body = { input: 'a', encoding_format: null, dimensions: null, user: 'me', model: null }
    expect(readEmbeddingRequest({ url: '/v1/embeddings', body })).toMatchObject({ inputs: ['a'] })
  })
})

describe('a body that is refused', () => {
  test.each([
    [{ top_logprobs: 2 }, 'top_logprobs needs logprobs: add logprobs: true, or leave both out'],
    [{ top_p: 0 }, 'top_p: Too small: expected number to be >0'],
    [{ max_tokens: '8' }, 'max_tokens: Invalid input: expected number, received string'],
    [{ stop: 7 }, 'stop: must be a text of 1 to 256 characters, or a list of up to 16 such texts'],
    [{ messages: [{ role: 'user', content: null }] }, 'messages.0.content: must be text or a list of text'],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] },
      'messages.0.content.0.type: only parts of type "text" are supported',
    ],
    [{ messages: [{ ...user, refusal: 'no' }] }, 'messages.0.refusal is not supported'],
  ])('%j says where', (body, message) => {
    expect(() => read(body)).toThrow(message)
  })
})

describe('the prompts of a completion', () => {
  const promptsOf = (prompt: unknown): unknown =>
    readTextRequest({ url: '/v1/completions', body: { prompt } }).prompts.map((one) =>
      one.kind === 'text' ? one.text : one.kind === 'tokens' ? one.tokens : one,
    )

  test.each([
    ['a', ['a']],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [[1, 2], [[1, 2]]],
    [
      [[1, 2], [3]],
      [[1, 2], [3]],
    ],
  ])('%j is %j', (prompt, prompts) => {
    expect(promptsOf(prompt)).toEqual(prompts)
  })

  test.each([[[]], [[[]]], [['a', [1]]], [Array(129).fill('a')], [{}], [[1, -1]]])('%j is none', (prompt) => {
    expect(() => promptsOf(prompt)).toThrow(/in the request's body, prompt/)
  })
})
