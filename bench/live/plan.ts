import { churnOfGroup } from '../../sim/world/pool-churn.ts'
import type { ChurnEvent } from '../../sim/churn/churn-events.ts'
import { RandomStreams } from '../../sim/kernel/random-streams.ts'
import type { PeerGroup, Scenario } from '../../sim/scenarios/schema.ts'
import { deviceOf, type PeerDevice } from '../../sim/world/swarm/device.ts'

/** One peer of a scenario that is to be a process. */
export interface PlannedPeer {
  group: PeerGroup
  device: PeerDevice
  /** Its events, in order of time. */
  events: ChurnEvent[]
}

/** Whom a scenario has and what befalls whom: the simulator's own draws for the seed, until the horizon. */
export function planLive(scenario: Scenario, seed: number): PlannedPeer[] {
  const streams = new RandomStreams(seed)
  return scenario.peers.flatMap((group) => {
    const peers = Array.from({ length: group.count }, (_, number): PlannedPeer => {
      return { group, device: deviceOf(scenario, group, number, streams), events: [] }
    })
    const churn = churnOfGroup(group, streams)
    for (let event = churn.next(); event !== undefined; event = churn.next()) {
      if (event.atMs > scenario.horizonS * 1000) break
      peers[event.peer]?.events.push(event)
    }
    return peers
  })
}
