import { rmSync } from 'node:fs'
import { afterAll } from 'vitest'
import { newFolder } from './folders/new-folder.ts'

const folders: string[] = []

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A new folder under the system's temporary one, removed after the tests of the file that asked for it. */
export function temporaryFolder(name: string): string {
  const folder = newFolder(name)
  folders.push(folder)
  return folder
}
