import { describe, expect, test } from 'vitest'
import { checkRequest, type RequestTarget } from '../../../src/inference/text/request-check.ts'

const generate: RequestTarget = {
  kind: 'generate',
  contextLengthMax: 4,
  vocabularySize: 64,
  hasChatTemplate: false,
}
const rules = { prompts: { query: 'q: ' }, defaultPrompt: undefined, shorter: [8, 16], size: 32 }
const embeddings: RequestTarget = { kind: 'embeddings', contextLengthMax: 4, vocabularySize: 64, rules }
const prompted: RequestTarget = { ...embeddings, rules: { ...rules, defaultPrompt: 'query' } }
const messages = [{ role: 'user', content: 'Hi' }]
const chat = (body: object): [string, object] => ['/v1/chat/completions', { messages, ...body }]
const completion = (prompt: unknown): [string, object] => ['/v1/completions', { prompt }]
const embedding = (input: unknown): [string, object] => ['/v1/embeddings', { input }]

const refused: [RequestTarget, [string, unknown], string][] = [
  [generate, chat({}), 'no chat template'],
  [{ ...generate, hasChatTemplate: true }, chat({ tools: [{}] }), 'tools is not supported'],
  [generate, completion([1, 64]), "token 64 of the prompt is not in the model's vocabulary"],
  [generate, completion([[1], [1, 2, 3, 4]]), 'the prompt has 4 tokens, and prompt and answer'],
  [generate, embedding('a'), 'does not serve /v1/embeddings'],
  [embeddings, completion('a'), 'makes embeddings and does not serve /v1/completions'],
  [embeddings, embedding([100_257]), "token 100257 of the input is not in the model's vocabulary"],
  [embeddings, embedding(['a', [1, 2, 3, 4, 5]]), 'the input has 5 tokens'],
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
  [{ ...generate, contextLengthMax: undefined, vocabularySize: undefined }, completion([1, 2, 3, 4, 999])],
  [embeddings, embedding([1, 2, 3, 63])],
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
