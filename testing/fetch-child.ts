// A peer in a separate process that fetches a context and prints which chunks it holds, until it is killed.
// Arguments: the store's folder, the contextId, the holder's multiaddr with its peer id.
import { multiaddr } from '@multiformats/multiaddr'
import { silentLogger } from '../src/base/log/logger.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { systemRandom } from '../src/base/system-random.ts'
import { ContextSharing } from '../src/context-sharing/context-sharing.ts'
import { ContextStore } from '../src/context-sharing/store/context-store.ts'
import { DecisionLog } from '../src/context-sharing/history/decisions.ts'
import { startBareNode } from './libp2p-pair.ts'

const [folder = '', contextId = '', holder = ''] = process.argv.slice(2)
const store = new ContextStore({ clock: systemClock, log: silentLogger }, { folder, keepFree: { bytes: 0 } })
await store.open()
const { node, network } = await startBareNode()
const connection = await node.dial(multiaddr(holder))
const sharing = new ContextSharing({
  network,
  store,
  findHolders: async () => [connection.remotePeer.toString()],
  clock: systemClock,
  random: systemRandom,
  log: silentLogger,
  decisions: new DecisionLog(systemClock),
})
await sharing.start()
let isListening = false
store.onChange(() => {
  const context = store.held(contextId)
  if (isListening || context === undefined) return
  isListening = true
  for (const chunk of context.held) process.stdout.write(`held ${chunk}\n`)
  context.onHeld((chunk) => process.stdout.write(`held ${chunk}\n`))
})
await sharing.fetch(contextId)
process.stdout.write('done\n')
