import { describe, expect, test } from 'vitest'
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
  ])('is not one that asks for something: %j is refused by name', (body) => {
    expect(() => read(body)).toThrow(/(tools|logit_bias|modalities|tool_calls) is not supported/)
  })
})
