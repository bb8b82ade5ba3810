/** Runs pieces of work one after another, in the order in which they were asked for. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `work` once all earlier work has settled, whether it failed or not. Settles as `work` does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work)
    this.#last = run.catch(() => {})
    return run
  }

  /** Resolves once all work that was asked for by now has settled; never rejects. */
  async settled(): Promise<void> {
    await this.#last
  }
}
