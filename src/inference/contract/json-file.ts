// Reads the JSON files of a context, within bounds.
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { z } from 'zod'
import { HearthError, messageOf } from '../../base/errors.ts'
import { CONTEXT_JSON_BYTES_MAX } from '../../base/limits.ts'
import { parsePythonJson } from './python-json.ts'

/** Reads a file that `schema` describes. `absent` stands for a file that may be missing. Throws `context-invalid`. */
export async function readJson<T>(
  folder: string,
  name: string,
  schema: z.ZodType<T>,
  absent?: T,
): Promise<T> {
  const text = await readOptional(folder, name)
  if (text === undefined) {
    if (absent !== undefined) return absent
    throw new HearthError('context-invalid', `${name} is missing`, { data: { folder } })
  }
  const parsed = schema.safeParse(parseJson(name, text))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new HearthError('context-invalid', `${name}: ${issue?.path.join('.')}: ${issue?.message}`)
}

function parseJson(name: string, text: string): unknown {
  try {
    return parsePythonJson(text)
  } catch (error) {
    throw new HearthError('context-invalid', `${name}: ${messageOf(error)}`, { cause: error })
  }
}

/** The text of a file; undefined when there is none. Throws `context-invalid` when it is too long. */
export async function readOptional(folder: string, name: string): Promise<string | undefined> {
  const path = join(folder, name)
  const found = await stat(path).catch(() => undefined)
  if (found === undefined) return undefined
  if (found.size > CONTEXT_JSON_BYTES_MAX) {
    throw new HearthError(
      'context-invalid',
      `${name} has ${found.size} bytes, over the limit of ${CONTEXT_JSON_BYTES_MAX}`,
    )
  }
  return await readFile(path, 'utf8')
}
