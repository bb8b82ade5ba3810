import { every, type Cancel, type Clock } from '../../base/clock.ts'
import { isHearthError } from '../../base/errors.ts'
import type { JoinTrouble } from '../../node/status/peer-status.ts'
import type { Terminal } from './terminal.ts'

const LOOK_EVERY_MS = 250

/**
 * Tells the owner at once why a peer is not connected to anybody, each reason once, and when it is; the peer
 * goes on trying.
 */
export function watchJoining(
  peer: { joinTrouble(): JoinTrouble },
  { clock, terminal }: { clock: Clock; terminal: Pick<Terminal, 'event' | 'note'> },
): Cancel {
  let told = ''
  return every(clock, LOOK_EVERY_MS, () => {
    const { connectedPeers, error } = peer.joinTrouble()
    if (connectedPeers > 0 && told !== '') {
      told = ''
      terminal.event({ event: 'joined', connectedPeers })
      terminal.note('Joined the swarm')
    }
    if (connectedPeers > 0 || error === undefined || error.message === told) return
    told = error.message
    const code = isHearthError(error) ? error.code : 'internal'
    terminal.event({ event: 'not-joined', code, message: error.message })
    terminal.note(`Not connected to any peer yet: ${error.message}. Trying again until one answers`)
  })
}
