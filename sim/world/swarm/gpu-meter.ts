/** The work of a GPU other than requests. */
export type Chore = 'load' | 'transfer'

/**
 * Where the seconds of one peer's GPU go. At each moment the share of its slots that run requests is busy;
 * the rest goes to loading if it loads, else to waiting for bytes if it fetches, else it is idle.
 */
export class GpuMeter {
  readonly #slots: number
  #loads = 0
  #transfers = 0
  #running = 0
  #isUp = false
  #sinceUs = 0
  upUs = 0
  busyUs = 0
  loadUs = 0
  transferUs = 0
  idleUs = 0
  /** The sum of the runs' own times: must equal `busyUs`. */
  ranUs = 0
  /** The part of these with committed results. */
  usefulUs = 0

  constructor(slots: number) {
    this.#slots = slots
  }

  up(nowUs: number): void {
    this.touch(nowUs)
    this.#isUp = true
  }

  down(nowUs: number): void {
    this.touch(nowUs)
    this.#isUp = false
    this.#running = 0
    this.#loads = 0
    this.#transfers = 0
  }

  begin(chore: Chore, nowUs: number): void {
    this.touch(nowUs)
    this.#count(chore, 1)
  }

  end(chore: Chore, nowUs: number): void {
    this.touch(nowUs)
    this.#count(chore, -1)
  }

  beginRun(nowUs: number): void {
    this.touch(nowUs)
    this.#running += 1
  }

  /** `startedUs`: when it began. Returns the GPU time that it took. */
  endRun(startedUs: number, nowUs: number): number {
    this.touch(nowUs)
    this.#running -= 1
    const tookUs = (nowUs - startedUs) / this.#slots
    this.ranUs += tookUs
    return tookUs
  }

  touch(nowUs: number): void {
    const elapsedUs = nowUs - this.#sinceUs
    this.#sinceUs = nowUs
    if (!this.#isUp || elapsedUs === 0) return
    const busyUs = (elapsedUs * this.#running) / this.#slots
    const restUs = elapsedUs - busyUs
    this.upUs += elapsedUs
    this.busyUs += busyUs
    if (this.#loads > 0) this.loadUs += restUs
    else if (this.#transfers > 0) this.transferUs += restUs
    else this.idleUs += restUs
  }

  #count(chore: Chore, by: 1 | -1): void {
    if (chore === 'load') this.#loads += by
    else this.#transfers += by
  }
}
