import { readFile } from 'node:fs/promises'

/**
 * Names this run of the operating system, so that after the death of a process its writes are known to
 * be in the kernel still. '' where the system does not say: then unsynced chunks are hashed again.
 */
export async function readBootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim()
  } catch {
    return ''
  }
}
