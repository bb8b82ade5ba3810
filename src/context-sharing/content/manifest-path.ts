import { CONTEXT_NAME_BYTES_MAX, CONTEXT_PATH_BYTES_MAX } from '../../base/limits.ts'

const utf8 = new TextEncoder()

/**
 * Why `path` cannot be the path of a file in a context; undefined when it can. Paths are relative,
 * '/'-separated and in Unicode NFC, and mean the same file on every operating system.
 */
export function pathFault(path: string): string | undefined {
  if (path === '') return 'is empty'
  if (path.startsWith('/') || /^[a-z]:/i.test(path)) return 'is absolute'
  if (path.includes('\\')) return 'has a backslash'
  // oxlint-disable-next-line no-control-regex -- control characters, NUL first, are what it looks for
  if (/[\u0000-\u001f\u007f]/.test(path)) return 'has a control character'
  if (!path.isWellFormed() || path !== path.normalize('NFC')) return 'is not normalised Unicode (NFC)'
  if (utf8.encode(path).byteLength > CONTEXT_PATH_BYTES_MAX) {
    return `is longer than ${CONTEXT_PATH_BYTES_MAX} bytes`
  }
  for (const name of path.split('/')) {
    if (name === '') return 'has an empty name'
    if (name === '.' || name === '..') return `has a "${name}"`
    if (utf8.encode(name).byteLength > CONTEXT_NAME_BYTES_MAX) {
      return `has a name longer than ${CONTEXT_NAME_BYTES_MAX} bytes`
    }
  }
  return undefined
}

/** Why `paths` cannot stand beside one another; undefined when they can. */
export function pathsFault(paths: readonly string[]): string | undefined {
  const seen = new Map<string, string>()
  for (const path of paths) {
    const other = seen.get(folded(path))
    if (other === path) return `"${path}" is there twice`
    if (other !== undefined) return `"${other}" and "${path}" differ only in case`
    seen.set(folded(path), path)
  }
  for (const path of paths) {
    for (const folder of foldersOf(path)) {
      if (seen.has(folded(folder))) return `"${seen.get(folded(folder))}" is both a file and a folder`
    }
  }
  return undefined
}

/** Order of the UTF-8 bytes: the same on every machine, whatever its locale. */
export function comparePaths(left: string, right: string): number {
  return Buffer.compare(utf8.encode(left), utf8.encode(right))
}

/** The form of `path` on a file system that ignores case. */
function folded(path: string): string {
  return path.toUpperCase().toLowerCase().normalize('NFC')
}

function foldersOf(path: string): string[] {
  const names = path.split('/').slice(0, -1)
  return names.map((_name, index) => names.slice(0, index + 1).join('/'))
}
