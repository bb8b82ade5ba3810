/** Results that are known without simulating: what the simulator is held against. */

/** The mean values of a queue with Poisson arrivals, exponential service and `servers` servers. */
export interface QueueMeans {
  /** The chance that an arrival has to wait (Erlang's C). */
  waitShare: number
  /** The mean time before service begins, in the unit of 1 / arrivalRate. */
  wait: number
  /** The mean number of those waiting. */
  waiting: number
  /** The mean number in the system, served ones included. */
  present: number
}

/** M/M/c. The load `arrivalRate / serviceRate` must be below `servers`, or the queue grows for ever. */
export function queueMeans(arrivalRate: number, serviceRate: number, servers: number): QueueMeans {
  const load = arrivalRate / serviceRate
  if (load >= servers) throw new RangeError(`a load of ${load} on ${servers} servers has no steady state`)
  // Erlang's B by its recursion, which neither over- nor underflows; then C from B.
  let blocked = 1
  for (let server = 1; server <= servers; server += 1) blocked = (load * blocked) / (server + load * blocked)
  const waitShare = blocked / (1 - (load / servers) * (1 - blocked))
  const waiting = (waitShare * load) / (servers - load)
  return { waitShare, wait: waiting / arrivalRate, waiting, present: waiting + load }
}

/** The share of time up of one that is up and down in turn, whatever the laws of the two. */
export function availability(meanUp: number, meanDown: number): number {
  return meanUp / (meanUp + meanDown)
}

export interface DistributionPlan {
  /** Bytes that every peer must receive. */
  bytes: number
  /** The total uplink of the initial holders, bytes per second. */
  seedUpload: number
  /** The uplink and downlink of each other peer, bytes per second. */
  peers: readonly { upload: number; download: number }[]
}

/**
 * The least time in which all peers can have the bytes, seconds: no copy leaves faster than the seeds
 * send it once, none arrives faster than the slowest download, and all uploads together must carry all
 * copies. It is reached when pieces are small (Kumar and Ross, 2006).
 */
export function leastDistributionTime({ bytes, seedUpload, peers }: DistributionPlan): number {
  if (peers.length === 0) return 0
  const slowest = Math.min(...peers.map(({ download }) => download))
  const uploads = peers.reduce((sum, { upload }) => sum + upload, seedUpload)
  return Math.max(bytes / seedUpload, bytes / slowest, (peers.length * bytes) / uploads)
}
