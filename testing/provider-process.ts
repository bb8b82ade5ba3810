// A peer in a process of its own that joins through argv[2] and provides the context argv[3] with record
// times in ms given as argv[4] (validity), a half of it for renewal and an eighth for checks. To be killed.
import { startPeer } from './libp2p-swarm.ts'

const [, , address = '', contextId = '', validity = ''] = process.argv
const recordValidityMs = Number(validity)
const peer = await startPeer({
  bootstrap: [address],
  stack: {
    timing: {
      recordValidityMs,
      recordRenewBeforeMs: recordValidityMs / 2,
      recordCheckEveryMs: recordValidityMs / 8,
    },
  },
})
await peer.join.untilJoined({ deadlineMs: 10_000 })
await peer.routing.provide(contextId, 'stored')
await peer.routing.provide(contextId, 'warm')
process.stdout.write(`${peer.id}\n`)
