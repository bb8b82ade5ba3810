import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { FILE_MODE, replaceFile, writeAt } from './disk.ts'
import { asStorageError } from '../../base/storage-errors.ts'

/*
 * Which chunks of a file in progress are on disk. An append-only file:
 *
 *   header, 32 bytes: "HEARTHJ1", 8 bytes of the sha2-256 of the boot id, 8 bytes of the grid's key,
 *                     4 zero bytes, crc32 of the 28 bytes before it (all numbers big-endian)
 *   records, 8 bytes each: value, crc32 of (the header's crc32, the record's number, value)
 *
 * A value below 2^32-1 says "this chunk is verified and written"; 2^32-1 says "everything before this
 * is durable". Written is enough after the death of the process, since the kernel has the bytes; after
 * a different boot only the durable ones are trusted, and the rest is hashed again. The crc's chain to
 * header and place makes bytes of an older journal, or a torn tail, not look like records.
 */

const MAGIC = Buffer.from('HEARTHJ1', 'latin1')
export const JOURNAL_HEADER_BYTES = 32
export const JOURNAL_RECORD_BYTES = 8
const DURABLE = 0xffff_ffff

/** The content of a journal. */
export interface JournalContent {
  /** Verified and written before the last durable mark. */
  durable: Set<number>
  /** Verified and written after it: to be trusted only under the same boot. */
  written: Set<number>
  sameBoot: boolean
  /** Bytes up to the last whole record; what follows is a torn tail. */
  bytes: number
}

export interface JournalIdentity {
  /** Names the run of the operating system; '' where it cannot be known, which is never the same boot. */
  bootId: string
  /** Names the chunk grid, so that a journal cannot speak of another's chunks. */
  gridKey: string
}

/** Reads a journal; undefined when its header is not whole or of another grid: then nothing is known. */
function decodeJournal(bytes: Uint8Array, identity: JournalIdentity): JournalContent | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.byteLength < JOURNAL_HEADER_BYTES) return undefined
  const header = encodeHeader(identity)
  const crc = buffer.readUInt32BE(28)
  if (crc !== crc32(buffer.subarray(0, 28))) return undefined
  if (!buffer.subarray(0, 8).equals(MAGIC) || !buffer.subarray(16, 28).equals(header.subarray(16, 28))) {
    return undefined
  }
  const sameBoot = identity.bootId !== '' && buffer.subarray(8, 16).equals(header.subarray(8, 16))
  return decodeRecords(buffer, crc, sameBoot)
}

function decodeRecords(buffer: Buffer, headerCrc: number, sameBoot: boolean): JournalContent {
  const content: JournalContent = {
    durable: new Set(),
    written: new Set(),
    sameBoot,
    bytes: JOURNAL_HEADER_BYTES,
  }
  while (content.bytes + JOURNAL_RECORD_BYTES <= buffer.byteLength) {
    const value = buffer.readUInt32BE(content.bytes)
    const number = (content.bytes - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES
    if (buffer.readUInt32BE(content.bytes + 4) !== recordCrc(headerCrc, number, value)) break
    content.bytes += JOURNAL_RECORD_BYTES
    if (value !== DURABLE) content.written.add(value)
    else {
      for (const chunk of content.written) content.durable.add(chunk)
      content.written.clear()
    }
  }
  return content
}

function encodeHeader({ bootId, gridKey }: JournalIdentity): Buffer {
  const header = Buffer.alloc(JOURNAL_HEADER_BYTES)
  MAGIC.copy(header)
  createHash('sha256').update(bootId).digest().copy(header, 8, 0, 8)
  createHash('sha256').update(gridKey).digest().copy(header, 16, 0, 8)
  header.writeUInt32BE(crc32(header.subarray(0, 28)), 28)
  return header
}

function encodeRecord(headerCrc: number, number: number, value: number): Buffer {
  const record = Buffer.alloc(JOURNAL_RECORD_BYTES)
  record.writeUInt32BE(value, 0)
  record.writeUInt32BE(recordCrc(headerCrc, number, value), 4)
  return record
}

function recordCrc(headerCrc: number, number: number, value: number): number {
  const place = Buffer.alloc(12)
  place.writeUInt32BE(headerCrc, 0)
  place.writeUInt32BE(number, 4)
  place.writeUInt32BE(value, 8)
  return crc32(place)
}

/** The journal of one file in progress, open for appending. One caller at a time. */
export class ChunkJournal {
  readonly #file: FileHandle
  readonly #path: string
  readonly #headerCrc: number
  #records: number

  private constructor(file: FileHandle, path: string, headerCrc: number, records: number) {
    this.#file = file
    this.#path = path
    this.#headerCrc = headerCrc
    this.#records = records
  }

  /**
   * Makes the journal anew under the present boot, saying that `durable` is on disk for good. An empty
   * one is not synced: losing it loses nothing.
   */
  static async create(
    path: string,
    identity: JournalIdentity,
    durable: Iterable<number>,
  ): Promise<ChunkJournal> {
    const header = encodeHeader(identity)
    const headerCrc = header.readUInt32BE(28)
    const values = [...durable]
    if (values.length > 0) values.push(DURABLE)
    const records = values.map((value, number) => encodeRecord(headerCrc, number, value))
    if (records.length > 0) await replaceFile(path, `${path}.new`, Buffer.concat([header, ...records]))
    else await writeFile(path, header, { mode: FILE_MODE })
    return await ChunkJournal.#open(path, headerCrc, records.length)
  }

  /** Goes on where `content` ends; a torn tail is cut off. */
  static async resume(
    path: string,
    identity: JournalIdentity,
    content: JournalContent,
  ): Promise<ChunkJournal> {
    const records = (content.bytes - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES
    const journal = await ChunkJournal.#open(path, encodeHeader(identity).readUInt32BE(28), records)
    await journal.#file.truncate(content.bytes)
    return journal
  }

  static async #open(path: string, headerCrc: number, records: number): Promise<ChunkJournal> {
    return new ChunkJournal(await open(path, 'r+', FILE_MODE), path, headerCrc, records)
  }

  /** Says that `chunk` is verified and written; true of the disk once this resolves. Throws `disk-full`. */
  async written(chunk: number): Promise<void> {
    await this.#append(chunk)
  }

  /** Says that everything said so far is durable, durably. The data must have been synced before. */
  async durable(): Promise<void> {
    await this.#append(DURABLE)
    await this.#file.datasync()
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  /** A record that could not be written whole is overwritten by the next one. */
  async #append(value: number): Promise<void> {
    const offset = JOURNAL_HEADER_BYTES + this.#records * JOURNAL_RECORD_BYTES
    try {
      await writeAt(this.#file, offset, encodeRecord(this.#headerCrc, this.#records, value))
    } catch (error) {
      throw asStorageError(error, this.#path)
    }
    this.#records += 1
  }
}

/** The journal at `path`; undefined when there is none, or none that can be read. */
export async function readJournal(
  path: string,
  identity: JournalIdentity,
): Promise<JournalContent | undefined> {
  try {
    return decodeJournal(await readFile(path), identity)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
