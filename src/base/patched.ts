import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { HearthError } from './errors.ts'

/**
 * Returns the functions of `target` that Hearth is about to replace or to call behind a package's types.
 * Throws `internal`, naming the package and its version, when one of them is missing or takes other parameters:
 * an update has changed what the patch relies on.
 */
export function requirePatchable<T extends object, Name extends keyof T & string>(
  packageName: string,
  target: T,
  expected: Readonly<Record<Name, number>>,
): T {
  for (const [name, parameters] of Object.entries<number>(expected)) {
    const found: unknown = Reflect.get(target, name)
    if (typeof found === 'function' && found.length === parameters) continue
    const is = typeof found === 'function' ? `takes ${found.length} parameters` : `is ${typeof found}`
    throw new HearthError(
      'internal',
      `${packageName} ${versionOf(packageName)} does not fit Hearth: "${name}" ${is}, and a function of ${parameters} parameters is expected. Run "npm ci" for the version that Hearth was tested with`,
    )
  }
  return target
}

function versionOf(packageName: string): string {
  if (packageName === 'node') return process.version
  const path = findPackageJSON(packageName, import.meta.url)
  if (path === undefined) throw new RangeError(`the package ${packageName} is not installed`)
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
}
