import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The folders whose code decides what a run does. */
const ROOTS = ['src', 'sim']
const REPOSITORY = join(import.meta.dirname, '..', '..')

let known: string | undefined

/** sha-256 of the code of the simulator and of the cores that it drives: 64 hex digits. Read once in a process. */
export function codeHash(): string {
  known ??= hashFiles(REPOSITORY, ROOTS)
  return known
}

/** sha-256 of the paths and the texts of all TypeScript files in some folders. */
export function hashFiles(repository: string, roots: readonly string[]): string {
  const hash = createHash('sha256')
  for (const root of roots) {
    const paths = readdirSync(join(repository, root), { recursive: true, encoding: 'utf8' })
    for (const path of paths.filter((one) => one.endsWith('.ts')).sort())
      hash
        .update(`${root}/${path}\0`)
        .update(readFileSync(join(repository, root, path)))
        .update('\0')
  }
  return hash.digest('hex')
}
