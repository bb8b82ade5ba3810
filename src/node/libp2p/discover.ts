import { identify } from '@libp2p/identify'
import type { Identify } from '@libp2p/identify'
import { createLibp2p } from 'libp2p'
import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError } from '../../base/errors.ts'
import { parseAddress } from './addresses.ts'
import { dialError } from './dial.ts'
import { plainNode } from './host.ts'
import { swarmOf } from './protocols.ts'

export interface DiscoverOptions {
  clock: Clock
  /** How long the answer may take, ms. */
  deadlineMs: number
  signal?: AbortSignal | undefined
}

/**
 * The id of the swarm that the peer at `address` belongs to, so that an address alone is enough to
 * join. Asks with a node that is thrown away, since a peer's own node needs the id from its start.
 * Throws `peer-unreachable`, `swarm-mismatch` (not a Hearth peer), `deadline-passed` or `config-invalid`.
 */
export async function discoverSwarm(address: string, options: DiscoverOptions): Promise<string> {
  const target = parseAddress(address)
  const node = await createLibp2p<{ identify: Identify }>({
    ...plainNode({ listen: [] }),
    connectionMonitor: { enabled: false },
    services: { identify: identify({ runOnConnectionOpen: false }) },
  })
  try {
    return await withDeadline(
      {
        clock: options.clock,
        ms: options.deadlineMs,
        whose: `the swarm of the peer at ${address}`,
        signal: options.signal,
      },
      async (signal) => {
        const connection = await node.dial(target, { signal })
        const { protocols } = await node.services.identify.identify(connection, { signal })
        const swarm = swarmOf(protocols)
        if (swarm !== undefined) return swarm
        throw new HearthError(
          'swarm-mismatch',
          `The program that answers at ${address} is not a Hearth peer. Check the --bootstrap address`,
          {
            data: { address },
          },
        )
      },
    )
  } catch (error) {
    throw dialError(`at ${address}`, error, options.signal)
  } finally {
    await node.stop()
  }
}
