// Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), of which
// OpenAI's API uses the data lines only.
import { HearthError } from '../../base/errors.ts'
import { ENDPOINT_EVENT_CHARACTERS_MAX } from '../../base/limits.ts'

/** The data of each event. Throws `engine-failed` for bytes that are not events. */
export async function* eventData(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let data: string[] = []
  for await (const line of lines(chunks)) {
    if (line.startsWith('data:')) data.push(line.slice(line.startsWith('data: ') ? 6 : 5))
    else if (line === '' && data.length > 0) {
      yield data.join('\n')
      data = []
    }
  }
  // A server may close the connection without the last empty line.
  if (data.length > 0) yield data.join('\n')
}

async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest = ''
  for await (const chunk of chunks) {
    const parts = (rest + decode(decoder, chunk)).split('\n')
    rest = parts.pop() ?? ''
    if (rest.length > ENDPOINT_EVENT_CHARACTERS_MAX) {
      throw new HearthError(
        'engine-failed',
        `the endpoint sent a line longer than ${ENDPOINT_EVENT_CHARACTERS_MAX} characters`,
      )
    }
    for (const part of parts) yield part.endsWith('\r') ? part.slice(0, -1) : part
  }
  if (rest !== '') yield rest
}

function decode(decoder: InstanceType<typeof TextDecoder>, chunk: Uint8Array): string {
  try {
    return decoder.decode(chunk, { stream: true })
  } catch (cause) {
    throw new HearthError('engine-failed', 'the endpoint sent bytes that are not UTF-8', { cause })
  }
}
