import { expect, test } from 'vitest'
import { outputLine } from '../../../src/tasks/journal/output-file.ts'

const LINE = { n: 7, customId: 'a "quoted" id', ok: true, statusCode: 200, peer: 'peer' }

test('a body stands in its line as the peer wrote it, numbers beyond 2^53 and the order of keys included', () => {
  const body = '{"z":1,"a":9007199254740993,"text":"two\\nlines"}'
  const line = outputLine('job', { ...LINE, body })
  expect(line).toContain(`"body":${body}}`)
  expect(JSON.parse(line)).toEqual({
    id: 'batch_req_job_7',
    custom_id: 'a "quoted" id',
    response: { status_code: 200, request_id: 'batch_req_job_7', body: JSON.parse(body) },
    error: null,
  })
})

test('a body over several lines becomes one line that says the same', () => {
  const body = JSON.stringify({ a: [1, 'x\r\ny'] }, null, 2).replaceAll('\n', '\r\n')
  const line = outputLine('job', { ...LINE, ok: false, body })
  expect(line).not.toMatch(/[\n\r]/)
  expect(JSON.parse(line)).toMatchObject({ response: null, error: { a: [1, 'x\r\ny'] } })
})
