import type { Directory } from '../overlay/directory.ts'
import type { Larder } from './larder.ts'

/** A peer as the DHT has it. */
export interface PresentPeer {
  readonly number: number
  readonly larder: Larder
  readonly device: { readonly isLiar: boolean }
}

/** The DHT records of one peer: that it is up, the contexts on its disk, and false claims. */
export class Presence {
  readonly #directory: Directory
  readonly #peer: PresentPeer
  /** Contexts that it says it has loaded, and has not. */
  readonly #lies: readonly number[]

  constructor(directory: Directory, peer: PresentPeer, contexts: number) {
    this.#directory = directory
    this.#peer = peer
    this.#lies = peer.device.isLiar ? Array.from({ length: contexts }, (_, context) => context) : []
  }

  sayThere(): void {
    const { number, larder } = this.#peer
    this.#directory.join(number)
    larder.publish()
    for (const context of this.#lies) {
      this.#directory.hold(number, context, 'stored')
      this.#directory.hold(number, context, 'warm')
    }
  }

  sayGone(): void {
    const { number, larder } = this.#peer
    this.#directory.leave(number)
    larder.unpublish()
    for (const context of this.#lies) {
      this.#directory.unhold(number, context, 'stored')
      this.#directory.unhold(number, context, 'warm')
    }
  }
}
