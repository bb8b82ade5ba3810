/** What the store has to know of the copies that other peers have. The swarm's side answers. */
export interface Copies {
  /** Other peers known to hold all of the context, by what they said last. Costs nothing. */
  known(contextId: string): number
  /** The peers that say so now, when they are asked. None: nobody has it, or nobody answers. */
  confirm(contextId: string, signal: AbortSignal): Promise<string[]>
  /** Has another peer take the context; true once that one holds all of it. */
  handOff(contextId: string, signal: AbortSignal): Promise<boolean>
}

/** Without a swarm nobody is known to have anything. */
export const NO_COPIES: Copies = {
  known: () => 0,
  confirm: () => Promise.resolve([]),
  handOff: () => Promise.resolve(false),
}
