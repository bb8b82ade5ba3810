// A process of bench/crash: fetches a context and says each chunk that it holds, until it is killed.
// Arguments: the store's folder, the contextId, the holder's address.
import { startSharingPeer } from './sharing-peer.ts'

const [store = '', contextId = '', address = ''] = process.argv.slice(2)
const peer = await startSharingPeer({ store, directLane: true })
await peer.stack.members.meet(address, { deadlineMs: 10_000, signal: new AbortController().signal })
let isListening = false
const say = (kind: string, chunk: number): void => console.log(JSON.stringify({ kind, chunk }))
const listen = (): void => {
  const context = peer.store.held(contextId)
  if (isListening || context === undefined) return
  isListening = true
  for (const chunk of context.held) say('had', chunk)
  context.onHeld((chunk) => say('got', chunk))
}
listen()
peer.store.onChange(listen)
await peer.sharing.fetch(contextId)
console.log(JSON.stringify({ kind: 'done' }))
