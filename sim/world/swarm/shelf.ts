import { Bitfield } from '../../../src/context-sharing/content/bitfield.ts'

/** The chunks of one context on the disk of one host. */
export class Shelf {
  readonly chunks: Bitfield
  /** Whether what was fetched has been made usable. */
  isUnpacked: boolean

  constructor(chunkCount: number, isWhole: boolean) {
    this.chunks = isWhole ? Bitfield.full(chunkCount) : new Bitfield(chunkCount)
    this.isUnpacked = isWhole
  }

  get isWhole(): boolean {
    return this.chunks.isFull
  }

  missing(): number[] {
    const missing: number[] = []
    for (let chunk = 0; chunk < this.chunks.size; chunk += 1) if (!this.chunks.has(chunk)) missing.push(chunk)
    return missing
  }
}
