import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import type { ByteSink } from '../../base/log/line-writer.ts'
import { claimOutput } from '../../tasks/journal/output-file.ts'
import { unexpected } from './job-asker.ts'
import type { GivenAnswer, JobQuestion } from './job-messages.ts'

/** A job at another peer, and how to ask that peer. */
export interface DistantJob {
  peer: string
  jobId: string
  ask: (question: JobQuestion) => Promise<GivenAnswer>
}

/**
 * Copies the output file of a job at another peer to `path`. A copy that was interrupted goes on where it
 * ended; the file appears whole, after its length and hash are checked. Throws `usage` for a path that may
 * not be written, `output-unwritable`, and `data-corrupt` when the copy is not the file.
 */
export async function copyResults(job: DistantJob, path: string): Promise<{ bytes: number }> {
  const { jobId } = job
  await claimOutput(path, { jobId, inputPath: '/dev/null', isForced: false })
  const partial = `${path}.${jobId.slice(0, 12)}.copy`
  const file = await openPartial(partial)
  try {
    const hash = createHash('sha256')
    let at = await hashSoFar(partial, hash)
    try {
      at = await copyFrom(job, at, { hash, sink: file })
    } catch (error) {
      // An unfinished job has gone on since the last attempt: its copy begins anew.
      if (at === 0 || !isHearthError(error, 'stream-closed')) throw error
      await file.truncate(0)
      at = await copyFrom(job, 0, { hash: createHash('sha256'), sink: file })
    }
    await file.sync()
    await file.close()
    await rename(partial, path)
    return { bytes: at }
  } catch (error) {
    await file.close().catch(() => {})
    if (isHearthError(error, 'data-corrupt')) await rm(partial, { force: true })
    throw error
  }
}

/** Prints the output file of a job at another peer. Throws `data-corrupt` when what it printed is not the file. */
export async function printResults(job: DistantJob, sink: ByteSink): Promise<void> {
  await copyFrom(job, 0, { hash: createHash('sha256'), sink })
}

/** Copies from byte `from` to the end, which it returns; `hash` has what comes before. */
async function copyFrom(
  { peer, jobId, ask }: DistantJob,
  from: number,
  { hash, sink }: { hash: Hash; sink: ByteSink },
): Promise<number> {
  for (let at = from; ;) {
    const answer = await ask({ type: 'results', job: jobId, at })
    if (answer.type !== 'page') throw unexpected(peer, answer.type)
    const { bytes, end } = answer.page
    hash.update(bytes)
    await sink.appendFile(bytes)
    at += bytes.byteLength
    if (end === undefined) continue
    if (end.bytes === at && end.sha256 === hash.digest('hex')) return at
    throw new HearthError(
      'data-corrupt',
      `The copy of the results of job ${jobId} is not what peer ${peer} has. Run the same command again`,
      { data: { peer } },
    )
  }
}

async function openPartial(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'a', 0o600)
  } catch (cause) {
    throw new HearthError('output-unwritable', `cannot write ${path}: ${messageOf(cause)}`, { cause })
  }
}

/** The length of an earlier copy; its bytes go into `hash`. */
async function hashSoFar(path: string, hash: Hash): Promise<number> {
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk)
  return (await stat(path)).size
}
