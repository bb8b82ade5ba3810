import type { ByteSink } from '../../base/log/line-writer.ts'

/** This process's standard output. Its path cannot be opened when it is a socket, as in a child of another Node. */
export const standardOutput: ByteSink = {
  appendFile: (bytes) =>
    new Promise((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()))
    }),
}
