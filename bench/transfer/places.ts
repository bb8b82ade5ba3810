// Where the processes of bench/swarm run.

/** Hosts, one for each process by its number, and one without a number that only coordinates. */
export interface Places {
  hostOf(index?: number): string
  /** The prefix that runs a command there. */
  within(index?: number): string[]
}

/** All on this machine, told apart by their ports. */
export const thisMachine: Places = { hostOf: () => '127.0.0.1', within: () => [] }
