// The other end of bench/stream: a peer in a process of its own, which sends a context to whoever opens it, raw
// bytes to whoever connects by TCP, and back whatever it gets on `echo/1`.
// Arguments: a folder for its store, the folder with the model, the bytes that go over one TCP connection.
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { z } from 'zod'
import { BULK_SLICE_BYTES } from '../../src/base/limits.ts'
import { listenForOrders, startSharingPeer } from './sharing-peer.ts'

const [store = '', model = '', rawBytes = ''] = process.argv.slice(2)
const peer = await startSharingPeer({ store, directLane: true })
const { contextId } = await peer.store.import(model)
await peer.stack.network.handle('echo/1', async (stream, signal) => {
  for (;;) {
    const message = await stream.receive(z.unknown(), { deadlineMs: 600_000, signal })
    if (message === undefined) return
    await stream.send(message, { deadlineMs: 60_000, signal })
  }
})

const slice = Buffer.alloc(BULK_SLICE_BYTES, 1)
const server = createServer((socket) => void sendAll(socket, Number(rawBytes)))
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  listenForOrders({ 'cpu-usage': () => Promise.resolve(process.cpuUsage()) })
  console.log(JSON.stringify({ rawPort: port, address: peer.stack.addresses[0], contextId }))
})

async function sendAll(socket: Socket, bytes: number): Promise<void> {
  socket.on('error', () => {})
  for (let sent = 0; sent < bytes; sent += slice.byteLength) {
    if (!socket.write(slice)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  socket.end()
}
