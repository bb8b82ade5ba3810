import { statfs } from 'node:fs/promises'

/** Spare copies take at most this share of what is free on the disk: the rest is the owner's. */
const SPARE_SHARE = 0.25

/** Bytes that spare copies may still take in `folder`. */
export async function roomForSpares(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return Math.floor(bavail * bsize * SPARE_SHARE)
}
