import { describe, expect, test } from 'vitest'
import {
  checkInputTokens,
  checkPromptTokens,
  checkRequest,
  type RequestTarget,
} from '../../../src/inference/text/request-check.ts'

const generate: RequestTarget = { kind: 'generate', hasChatTemplate: false }
const rules = { prompts: { query: 'q: ' }, defaultPrompt: undefined, shorter: [8, 16], size: 32 }
const embeddings: RequestTarget = { kind: 'embeddings', rules }
const prompted: RequestTarget = { kind: 'embeddings', rules: { ...rules, defaultPrompt: 'query' } }
const messages = [{ role: 'user', content: 'Hi' }]
const chat = (body: object): [string, object] => ['/v1/chat/completions', { messages, ...body }]
const completion = (prompt: unknown): [string, object] => ['/v1/completions', { prompt }]
const embedding = (input: unknown): [string, object] => ['/v1/embeddings', { input }]

const refused: [RequestTarget, [string, unknown], string][] = [
  [generate, chat({}), 'no chat template'],
  [{ ...generate, hasChatTemplate: true }, chat({ tools: [{}] }), 'tools is not supported'],
  [generate, completion([[1], []]), 'prompt.1'],
  [generate, embedding('a'), 'does not serve /v1/embeddings'],
  [embeddings, completion('a'), 'makes embeddings and does not serve /v1/completions'],
  [embeddings, embedding(['a', 7]), 'input.1'],
  [embeddings, ['/v1/embeddings', { input: 'a', dimensions: 9 }], 'dimensions must be one of 8, 16'],
  [embeddings, ['/v1/embeddings', { input: 'a', prompt_name: 'p' }], 'no prompt "p"; it has query'],
  [prompted, embedding([1]), 'puts a prompt before each text'],
  [{ kind: 'endpoint' }, ['/v1/chat/completions', { messages: [] }], 'at least one message'],
  [{ kind: 'endpoint' }, ['/v1/completions', {}], 'prompt is missing'],
  [{ kind: 'endpoint' }, ['/v1/responses', {}], 'does not serve /v1/responses'],
  [{ kind: 'unknown' }, ['/v1/embeddings', { input: null }], 'input is missing'],
  [{ kind: 'unknown' }, ['/v1/chat/completions', []], 'not a JSON object'],
]

const taken: [RequestTarget, [string, unknown]][] = [
  [{ ...generate, hasChatTemplate: true }, chat({ max_tokens: 8 })],
  [generate, completion([1, 2, 63])],
  [embeddings, embedding([1, 2, 3, 63])],
  // Each is an error of its own line when it runs, as a text that is too long is.
  [generate, completion([100_257])],
  [embeddings, embedding(Array(9_999).fill(1))],
  [embeddings, ['/v1/embeddings', { input: 'a', dimensions: 8, prompt_name: 'query' }]],
  [embeddings, ['/v1/embeddings', { input: 'a', dimensions: 32 }]],
  // A server knows settings that Hearth does not, and so may a context that is not known here.
  [{ kind: 'endpoint' }, chat({ tools: [{}], n: 2, guided_json: {} })],
  [{ kind: 'unknown' }, chat({ tools: [{}], n: 2, temperature: 'hot' })],
]

describe('a request, before a tokenizer sees it', () => {
  test.each(refused)('%j refuses %j', (target, [url, body], message) => {
    expect(() => checkRequest(target, { url, body })).toThrow(message)
  })

  test.each(taken)('%j takes %j', (target, [url, body]) => {
    expect(() => checkRequest(target, { url, body })).not.toThrow()
  })
})

describe('tokens, before a kernel sees them', () => {
  const bounds = { contextLengthMax: 4, vocabularySize: 64 }
  const unknown = { contextLengthMax: undefined, vocabularySize: undefined }

  test('of a prompt leave room for an answer, and are all in the vocabulary', () => {
    const check = (tokens: number[]) => () => checkPromptTokens(tokens, bounds)
    expect(check([1, 2, 63])).not.toThrow()
    expect(check([])).toThrow('the prompt is empty')
    expect(check([1, 64])).toThrow("token 64 of the prompt is not in the model's vocabulary")
    expect(check([1, Number.NaN])).toThrow('token NaN')
    expect(check([1, 2, 3, 4])).toThrow('the prompt has 4 tokens, and prompt and answer together may have 4')
    expect(() => checkPromptTokens([1, 2, 3, 4, 99_999], unknown)).not.toThrow()
  })

  test('of an input fill the positions, and are all in the vocabulary', () => {
    const check = (tokens: number[]) => () => checkInputTokens(tokens, bounds)
    expect(check([1, 2, 3, 63])).not.toThrow()
    expect(check([])).toThrow('the input is empty')
    expect(check([100_257])).toThrow("token 100257 of the input is not in the model's vocabulary")
    expect(check([1, 2, 3, 4, 5])).toThrow('the input has 5 tokens, and this model takes at most 4')
    expect(() => checkInputTokens([1, 2, 3, 4, 99_999], unknown)).not.toThrow()
  })
})
