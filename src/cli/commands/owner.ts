import { readFile } from 'node:fs/promises'
import { HearthError, messageOf } from '../../base/errors.ts'
import { exportOwner, importOwner, loadOrCreateOwner, ownerName } from '../../node/owner/owner-key.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'

/** `hearth owner show`: the name of the owner key, the same on all machines of one owner. */
export async function ownerShowCommand({ terminal, data }: CommandContext): Promise<number> {
  const owner = ownerName(await loadOrCreateOwner(data))
  if (terminal.isJson) terminal.event({ event: 'owner', owner })
  else terminal.print(owner)
  return EXIT.ok
}

/** `hearth owner export`: the secret key as one line, for `hearth owner import` on another machine. */
export async function ownerExportCommand({ terminal, data }: CommandContext): Promise<number> {
  const key = await loadOrCreateOwner(data)
  if (terminal.isJson) terminal.event({ event: 'owner', owner: ownerName(key), key: exportOwner(key) })
  else terminal.print(exportOwner(key))
  terminal.note('Keep this line secret: with it, anyone in the swarm can read and cancel your jobs')
  return EXIT.ok
}

/** `hearth owner import [FILE]`: takes over the key that another machine exported; from standard input without a file. */
export async function ownerImportCommand(
  file: string | undefined,
  options: { force?: boolean },
  { terminal, data }: CommandContext,
): Promise<number> {
  const text = await readFile(file ?? '/dev/stdin', 'utf8').catch((cause: unknown) => {
    throw new HearthError('usage', `Cannot read ${file ?? 'standard input'}: ${messageOf(cause)}`, { cause })
  })
  const owner = ownerName(await importOwner(data, text, { isForced: options.force === true }))
  terminal.event({ event: 'owner', owner })
  terminal.note(`This machine has owner ${owner}. "hearth job ls" lists the jobs of all its machines`)
  return EXIT.ok
}
