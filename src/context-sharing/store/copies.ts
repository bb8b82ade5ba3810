/** The store's questions about copies on other peers. Replication answers them. */
export interface Copies {
  mayDrop(contextId: string): DropAdvice
}

export interface DropAdvice {
  /** Whether the copy here may be deleted: other peers have enough, and they do not delete theirs at the same time. */
  may: boolean
  /** Other peers with a complete copy. */
  others: number
}

/** Without a swarm no other copy is known. */
export const NO_COPIES: Copies = { mayDrop: () => ({ may: false, others: 0 }) }

/** Why this copy is not deleted to make room; undefined when it may be. A partial context is not a copy. */
export function whyNotDropped({ may, others }: DropAdvice): string | undefined {
  if (others === 0) return 'no other peer is known to have all of it: this may be the last copy'
  return may ? undefined : `${others} other peers have it, and they rely on the copy here`
}
