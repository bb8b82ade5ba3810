// A peer in a process of its own that dials argv[2], sends a message (argv[3]: 'message') or bytes
// without end, and says "sending" once they are under way. To be killed in the middle of it.
import { multiaddr } from '@multiformats/multiaddr'
import { MessageStream } from '../src/base/stream/message-stream.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { startStack } from './libp2p-swarm.ts'

const [, , address = '', protocol = '', kind] = process.argv
const stack = await startStack({ listen: [] })
const connection = await stack.node.dial(multiaddr(address))
const raw = await connection.newStream(protocol)
const stream = new MessageStream({ clock: systemClock }, raw, 'parent')
if (kind === 'message') {
  // The length of a frame of 1 MiB, and half of it.
  raw.send(new Uint8Array([0x80, 0x80, 0x40]))
  raw.send(new Uint8Array(512 * 1024))
  process.stdout.write('sending\n')
} else {
  for (let sent = 0; ; sent += 1) {
    await stream.sendBytes(new Uint8Array(256 * 1024), { deadlineMs: 60_000 })
    if (sent === 8) process.stdout.write('sending\n')
  }
}
