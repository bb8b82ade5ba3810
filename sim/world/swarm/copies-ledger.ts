import type { Kernel } from '../../kernel/kernel.ts'

/** Copies of one context on peers that are up. */
interface Account {
  copies: number
  sinceUs: number
  /** Since a peer first held it. */
  firstUs: number
  availableUs: number
  copyUs: number
}

/** How many whole copies of each context are on peers that are up, and for how long there was one. */
export class CopiesLedger {
  readonly #kernel: Kernel
  readonly #accounts = new Map<number, Account>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  gain(context: number): void {
    this.#touch(context).copies += 1
  }

  lose(context: number): void {
    this.#touch(context).copies -= 1
  }

  copies(context: number): number {
    return this.#accounts.get(context)?.copies ?? 0
  }

  /** Contexts that a peer held at some time. */
  get contexts(): number[] {
    return [...this.#accounts.keys()].sort((left, right) => left - right)
  }

  /** Since a peer first held it: the share of time in which one that is up did, and how many on average. */
  shares(context: number): { availability: number; meanReplicas: number } {
    const { firstUs, availableUs, copyUs } = this.#touch(context)
    const wholeUs = Math.max(1, this.#kernel.nowUs - firstUs)
    return { availability: availableUs / wholeUs, meanReplicas: copyUs / wholeUs }
  }

  #touch(context: number): Account {
    const { nowUs } = this.#kernel
    const known = this.#accounts.get(context)
    if (known === undefined) {
      const account = { copies: 0, sinceUs: nowUs, firstUs: nowUs, availableUs: 0, copyUs: 0 }
      this.#accounts.set(context, account)
      return account
    }
    const elapsedUs = nowUs - known.sinceUs
    known.sinceUs = nowUs
    if (known.copies > 0) known.availableUs += elapsedUs
    known.copyUs += known.copies * elapsedUs
    return known
  }
}
