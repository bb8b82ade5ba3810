// A BitTorrent tracker for bench/swarm: tells every client of all that came before it. Argument: its host.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const [, , host = '127.0.0.1'] = process.argv
/** Four bytes of address and two of port for each client. */
const peers = new Map<string, Buffer>()

const server = createServer((request, response) => {
  const address = (request.socket.remoteAddress ?? '').replace('::ffff:', '')
  const port = Number(new URL(request.url ?? '/', 'http://tracker').searchParams.get('port'))
  peers.set(`${address}:${port}`, Buffer.from([...address.split('.').map(Number), port >> 8, port & 0xff]))
  const compact = Buffer.concat([...peers.values()])
  response.end(
    Buffer.concat([Buffer.from(`d8:intervali2e5:peers${compact.byteLength}:`), compact, Buffer.from('e')]),
  )
})
server.listen(0, host, () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })))
