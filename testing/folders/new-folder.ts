import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A new folder under the system's temporary one. Its maker removes it; tests use `temporaryFolder`, which does so itself. */
export function newFolder(name: string): string {
  return mkdtempSync(join(tmpdir(), `hearth-${name}-`))
}
