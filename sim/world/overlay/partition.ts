import type { Partition } from '../../scenarios/schema.ts'
import type { RandomStreams } from '../../kernel/random-streams.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { TAG } from '../events/tags.ts'

/** A peer as a partition sees it. */
export interface PartedPeer {
  readonly id: string
  readonly group: string
  readonly number: number
  /** The peer reaches only its own side of the partition, or all peers again. */
  moveTo(side: number): void
}

/** Cuts some peers off from all the others, submitters and origin included, for a while. */
export class Partitions {
  readonly #streams: RandomStreams
  readonly #peers: () => readonly PartedPeer[]
  readonly #onMoved: () => void
  /** Those on each side but the main one, which is side 0. */
  readonly #members = new Map<number, readonly PartedPeer[]>()

  /** `onMoved`: called when all peers of a cut have changed sides. */
  constructor(streams: RandomStreams, peers: () => readonly PartedPeer[], onMoved: () => void) {
    this.#streams = streams
    this.#peers = peers
    this.#onMoved = onMoved
  }

  schedule(kernel: Kernel, partitions: readonly Partition[]): void {
    for (const [index, partition] of partitions.entries()) {
      const side = index + 1
      kernel.at(partition.fromS * 1e6, TAG.fault, () => this.#cut(partition, side))
      kernel.at(partition.untilS * 1e6, TAG.fault, () => this.#heal(side))
    }
  }

  /** The numbers of the peers on a side that is cut off. */
  on(side: number): number[] {
    return (this.#members.get(side) ?? []).map(({ number }) => number)
  }

  #cut({ groups, share }: Partition, side: number): void {
    const members = this.#peers().filter(
      ({ id, group }) =>
        (groups === undefined || groups.includes(group)) &&
        this.#streams.of(id, 'partition', side).next() < share,
    )
    this.#members.set(side, members)
    for (const peer of members) peer.moveTo(side)
    this.#onMoved()
  }

  #heal(side: number): void {
    for (const peer of this.#members.get(side) ?? []) peer.moveTo(0)
    this.#members.delete(side)
    this.#onMoved()
  }
}
