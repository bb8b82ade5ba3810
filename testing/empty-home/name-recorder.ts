import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const DNS_PORT = 53
const HEADER_BYTES = 12
/** A response that says that there is no such name. */
const NO_SUCH_NAME = 0x8183

/** The name that a DNS query asks for. */
function nameIn(query: Buffer): string {
  const labels: string[] = []
  let at = HEADER_BYTES
  while (at < query.length) {
    const length = query[at] ?? 0
    if (length === 0) break
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return labels.join('.')
}

/** Answers every DNS query on loopback with "no such name", and records the names. For a network namespace only. */
export async function recordNames(): Promise<{ names: string[]; stop: () => void }> {
  const names: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    names.push(nameIn(query))
    const answer = Buffer.from(query)
    answer.writeUInt16BE(NO_SUCH_NAME, 2)
    socket.send(answer, from.port, from.address)
  })
  socket.bind(DNS_PORT, '127.0.0.1')
  await once(socket, 'listening')
  return { names, stop: () => socket.close() }
}
