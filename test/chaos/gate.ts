import { createServer, connect, type Server, type Socket } from 'node:net'
import { once } from 'node:events'

/** A door before a worker's port: everybody comes in through it, so the way can be cut or held. */
export class Gate {
  readonly port: number
  readonly #server: Server
  readonly #pairs = new Set<[Socket, Socket]>()
  #isShut = false

  static async open(targetPort: number): Promise<Gate> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Gate(server, targetPort)
  }

  private constructor(server: Server, targetPort: number) {
    this.#server = server
    this.port = (server.address() as { port: number }).port
    server.on('connection', (outer) => this.#join(outer, connect(targetPort, '127.0.0.1')))
  }

  /** Cuts every connection that goes through. */
  reset(): void {
    for (const [outer, inner] of this.#pairs) {
      outer.resetAndDestroy()
      inner.resetAndDestroy()
    }
  }

  /** Nothing passes either way, and nobody is told; what was sent meanwhile passes after `open`. */
  shut(): void {
    this.#isShut = true
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  open(): void {
    this.#isShut = false
    for (const pair of this.#pairs) for (const socket of pair) socket.resume()
  }

  async close(): Promise<void> {
    this.reset()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(outer: Socket, inner: Socket): void {
    const pair: [Socket, Socket] = [outer, inner]
    this.#pairs.add(pair)
    for (const [from, to] of [pair, [inner, outer]] as const) {
      from.on('data', (bytes) => {
        if (!to.write(bytes)) from.pause()
      })
      to.on('drain', () => {
        if (!this.#isShut) from.resume()
      })
      from.on('end', () => to.end())
      from.on('error', () => to.destroy())
      from.on('close', () => {
        to.destroy()
        this.#pairs.delete(pair)
      })
      if (this.#isShut) from.pause()
    }
  }
}
