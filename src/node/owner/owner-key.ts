import { createHash, randomBytes } from 'node:crypto'
import { chmod, open, rename } from 'node:fs/promises'
import { privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { DataFolder } from '../home/data-folder.ts'
import { loadIdentity, loadOrCreateIdentity, type Identity, type KeyWords } from '../home/identity.ts'

/**
 * The key of an owner, which all machines of that owner hold. It proves that a question about jobs
 * comes from the owner; it names no peer, since each machine has an identity of its own.
 */
export type OwnerKey = Identity

const WORDS: KeyWords = {
  name: 'owner key',
  otherwise: 'delete it and import the key of another machine with "hearth owner import"',
}
/** Put before an exported key, so that another text is not taken for one. */
const EXPORT_PREFIX = 'hearth-owner-1:'
const NAME_DIGITS = 16

/** The owner key of a data folder; undefined before the first "hearth owner" there. */
export async function loadOwner(data: DataFolder): Promise<OwnerKey | undefined> {
  return await loadIdentity(data.ownerPath, WORDS)
}

/** The owner key of a data folder, made when there is none. */
export async function loadOrCreateOwner(data: DataFolder): Promise<OwnerKey> {
  return await loadOrCreateIdentity(data.ownerPath, WORDS)
}

/** A short name of an owner key, to compare two machines by; it gives nothing of the key away. */
export function ownerName(key: OwnerKey): string {
  return createHash('sha256').update(key.publicKey.raw).digest('hex').slice(0, NAME_DIGITS)
}

/** The secret key as one line of text, for "hearth owner import" on another machine. */
export function exportOwner(key: OwnerKey): string {
  return `${EXPORT_PREFIX}${Buffer.from(privateKeyToProtobuf(key)).toString('base64url')}`
}

/**
 * Stores the exported key `text` in a data folder. Throws `usage` for a text that is no exported key, and
 * for a folder that has another owner key, unless `isForced`.
 */
export async function importOwner(
  data: DataFolder,
  text: string,
  { isForced }: { isForced: boolean },
): Promise<OwnerKey> {
  const key = parseExport(text.trim())
  const stored = await loadOwner(data)
  if (stored?.equals(key) === true) return stored
  if (stored !== undefined && !isForced)
    throw new HearthError(
      'usage',
      `${data.ownerPath} has another owner key (${ownerName(stored)}). Replace it with "hearth owner import --force", or import that key on the other machine instead`,
    )
  data.create()
  await replaceKey(data.ownerPath, key)
  return key
}

function parseExport(text: string): OwnerKey {
  const bytes = text.startsWith(EXPORT_PREFIX)
    ? Buffer.from(text.slice(EXPORT_PREFIX.length), 'base64url')
    : undefined
  try {
    const key = bytes === undefined ? undefined : privateKeyFromProtobuf(bytes)
    if (key?.type === 'Ed25519') return key
  } catch {
    // The message below says what to do.
  }
  throw new HearthError(
    'usage',
    'This is no exported owner key. Give the line that "hearth owner export" prints on your other machine',
  )
}

/** Writes beside the file and renames, so that a crash leaves the old key or the new one. */
async function replaceKey(path: string, key: OwnerKey): Promise<void> {
  const partial = `${path}.${randomBytes(6).toString('hex')}.partial`
  try {
    const file = await open(partial, 'wx', 0o600)
    try {
      await file.writeFile(privateKeyToProtobuf(key))
      await file.sync()
    } finally {
      await file.close()
    }
    await chmod(partial, 0o600)
    await rename(partial, path)
  } catch (cause) {
    throw new HearthError('config-invalid', `Cannot write the owner key ${path}: ${messageOf(cause)}`, {
      cause,
    })
  }
}
