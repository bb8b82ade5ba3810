import { chmod, mkdir, open, readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { asStorageError } from '../../base/storage-errors.ts'

/** The identity of a peer: its Ed25519 key, which determines its peer id. */
export type Identity = Ed25519PrivateKey

const OWNER_ONLY = 0o600
const READABLE_BY_OTHERS = 0o077

/** How messages name a key, and what its owner does without it. */
export interface KeyWords {
  name: string
  /** The effect of deleting the file. */
  otherwise: string
}

const IDENTITY_WORDS: KeyWords = {
  name: 'identity key',
  otherwise: 'delete it to get a new identity',
}

/**
 * The key in `path`, made and stored there (libp2p's protobuf form, mode 0600) when there is none.
 * Throws `config-invalid` when others may read it, `data-corrupt` when it is not an Ed25519 key, and
 * `data-inaccessible` when it cannot be read or written.
 */
export async function loadOrCreateIdentity(
  path: string,
  words: KeyWords = IDENTITY_WORDS,
): Promise<Identity> {
  return (await loadIdentity(path, words)) ?? (await createIdentity(path, words))
}

/** The id of the peer whose key is in `path`; undefined when there is none. Throws as `loadOrCreateIdentity`. */
export async function peerIdAt(path: string): Promise<string | undefined> {
  const identity = await loadIdentity(path)
  return identity?.publicKey.toString()
}

/** A key that is stored nowhere: for peers that live for one command, and for tests. */
export async function temporaryIdentity(): Promise<Identity> {
  return await generateKeyPair('Ed25519')
}

/** The key in `path`; undefined when there is none. Throws as `loadOrCreateIdentity` does. */
export async function loadIdentity(
  path: string,
  words: KeyWords = IDENTITY_WORDS,
): Promise<Identity | undefined> {
  try {
    await refuseWhenReadableByOthers(path, words)
    return parseIdentity(path, await readFile(path), words)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw unusable(path, `read the ${words.name}`, error)
  }
}

async function refuseWhenReadableByOthers(path: string, words: KeyWords): Promise<void> {
  const { mode } = await stat(path)
  if (process.platform === 'win32' || (mode & READABLE_BY_OTHERS) === 0) return
  throw new HearthError(
    'config-invalid',
    `Other users of this machine can read the ${words.name} ${path} (mode ${(mode & 0o777).toString(8)}). Run "chmod 600 ${path}"; if somebody may have copied it, ${words.otherwise}`,
    { data: { path, mode: mode & 0o777 } },
  )
}

function parseIdentity(path: string, bytes: Uint8Array, words: KeyWords): Identity {
  try {
    const key = privateKeyFromProtobuf(bytes)
    if (key.type === 'Ed25519') return key
  } catch (cause) {
    throw damaged(path, words, cause)
  }
  throw damaged(path, words)
}

function damaged(path: string, words: KeyWords, cause?: unknown): HearthError {
  return new HearthError(
    'data-corrupt',
    `${path} is not an Ed25519 ${words.name}. Restore it from a backup, or ${words.otherwise}`,
    { data: { path }, cause },
  )
}

/** Never overwrites: of two processes that start at once, one makes the key and the other reads it. */
async function createIdentity(path: string, words: KeyWords): Promise<Identity> {
  const key = await generateKeyPair('Ed25519')
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const file = await open(path, 'wx', OWNER_ONLY)
    try {
      await file.writeFile(privateKeyToProtobuf(key))
      await file.sync()
    } finally {
      await file.close()
    }
    await chmod(path, OWNER_ONLY)
    return key
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      const stored = await loadIdentity(path, words)
      if (stored !== undefined) return stored
    }
    throw unusable(path, `write the ${words.name}`, error)
  }
}

/** For what is no fault of the disk, such as a folder in the place of the key. */
function unusable(path: string, doing: string, error: unknown): HearthError {
  const cause = asStorageError(error, path)
  if (isHearthError(cause)) return cause
  return new HearthError('config-invalid', `Cannot ${doing} ${path}: ${messageOf(cause)}`, {
    data: { path },
    cause,
  })
}
