// A process of a bench, spoken to by lines of JSON: one answer for each order.
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { NODE_OPTIONS } from '../../src/cli/terminal/child-process.ts'

export class Child {
  readonly process: ChildProcess
  readonly #waiting: PromiseWithResolvers<unknown>[] = []
  #said: unknown[] = []

  /** Runs a file of this folder. `within` is put before the command: what enters a network namespace. */
  constructor(file: string, args: readonly string[], within: readonly string[] = []) {
    const [command = '', ...rest] = [
      ...within,
      process.execPath,
      ...NODE_OPTIONS,
      join(import.meta.dirname, file),
      ...args,
    ]
    this.process = spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'] })
    if (this.process.stdout !== null) {
      createInterface({ input: this.process.stdout }).on('line', (line) => this.#onLine(line))
    }
    this.process.on('exit', () => this.#onExit())
  }

  /** Its next message. */
  async next<T>(): Promise<T> {
    const said = this.#said.shift()
    if (said !== undefined) return said as T
    const answer = Promise.withResolvers<unknown>()
    this.#waiting.push(answer)
    return (await answer.promise) as T
  }

  /** Has an order carried out. */
  async order<T>(order: string, fields: object = {}): Promise<T> {
    this.process.stdin?.write(`${JSON.stringify({ order, ...fields })}\n`)
    return await this.next<T>()
  }

  kill(): void {
    this.process.kill('SIGKILL')
  }

  #onLine(line: string): void {
    const waiting = this.#waiting.shift()
    if (waiting === undefined) this.#said.push(JSON.parse(line))
    else waiting.resolve(JSON.parse(line))
  }

  #onExit(): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('a process of the bench ended'))
  }
}
