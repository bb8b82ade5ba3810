const BUFFER_BYTES = 256 * 1024

/** Where lines go: a file, or a stream that takes bytes in order. */
export interface ByteSink {
  appendFile(bytes: Uint8Array): Promise<void>
}

/**
 * Writes lines to a file through one buffer. One string of many lines per write would be a large object,
 * and large objects are collected late.
 */
export class LineWriter {
  readonly #file: ByteSink
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  #filled = 0
  /** Written so far; what waits in the buffer is not. */
  bytes = 0

  constructor(file: ByteSink) {
    this.#file = file
  }

  /** Takes a line without its end. It is in the file after `flush`. */
  async add(line: string): Promise<void> {
    const bytes = Buffer.byteLength(line) + 1
    if (this.#filled + bytes > BUFFER_BYTES) await this.flush()
    if (bytes > BUFFER_BYTES) await this.#write(Buffer.from(`${line}\n`))
    else this.#filled += this.#buffer.write(`${line}\n`, this.#filled)
  }

  async flush(): Promise<void> {
    const filled = this.#buffer.subarray(0, this.#filled)
    this.#filled = 0
    if (filled.byteLength > 0) await this.#write(filled)
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#file.appendFile(bytes)
    this.bytes += bytes.byteLength
  }
}
