/** What the store has to know of the copies that other peers have. Replication answers. */
export interface Copies {
  mayDrop(contextId: string): DropAdvice
}

export interface DropAdvice {
  /** Whether the copy here may go: others have enough, and of those who drop now, not all count on each other. */
  may: boolean
  /** Other peers that have all of it. */
  others: number
}

/** Without a swarm nobody is known to have anything. */
export const NO_COPIES: Copies = { mayDrop: () => ({ may: false, others: 0 }) }

/** Why this copy is not dropped to make room; undefined when it may be. A part of a context is no copy of it. */
export function whyNotDropped({ may, others }: DropAdvice): string | undefined {
  if (others === 0) return 'no other peer is known to have all of it: this may be the last copy'
  return may ? undefined : `${others} other peers have it, and they rely on the copy here`
}
