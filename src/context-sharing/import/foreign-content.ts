// Recognizes files that a download left in a model's place: pointers of Git LFS, and error pages of a hub.
import { open } from 'node:fs/promises'
import { nameOf } from './onnx-files.ts'

const HEAD_BYTES = 1_024
/** Errors of a hub are shorter, and weights are longer. */
const ERROR_BYTES_MAX = 65_536
const QUOTE_CHARACTERS_MAX = 80

/** Files of other formats than text. */
const BINARY_NAME = /\.(onnx|safetensors|gguf)$/i
const PRINTABLE = /^[\t\n\r\x20-\x7e\u00a0-\uffef]+$/

/**
 * Why the file at `path` cannot be what its name says, with the remedy; undefined when nothing is wrong with
 * its first bytes.
 */
export async function foreignContent(path: string, name: string): Promise<string | undefined> {
  const { text, size } = await headOf(path)
  if (size === 0) return 'is empty: download it again'
  if (text.startsWith('version https://git-lfs.github.com/spec/')) {
    return 'is a Git LFS pointer, not the file itself: run "git lfs pull" in the folder, or download the file from the hub'
  }
  const start = text.trimStart()
  if (/^<(!doctype|html|\?xml|head|body)\b/i.test(start)) {
    return 'is a web page, perhaps the error page of a hub: download it again'
  }
  const isSmall = size <= ERROR_BYTES_MAX
  if (isSmall && isErrorBody(start, size))
    return `is the error message of a hub (${quote(start)}): download it again`
  if (BINARY_NAME.test(nameOf(name)) && PRINTABLE.test(text))
    return `is text (${quote(start)}), not a model: download it again`
  return undefined
}

/** {"error": "Repository not found"}, {"message": …}, {"detail": …}, alone or with a status. */
function isErrorBody(text: string, size: number): boolean {
  if (!text.startsWith('{') || size > HEAD_BYTES) return false
  try {
    const body = JSON.parse(text) as Record<string, unknown>
    const names = Object.keys(body)
    const says = ['error', 'message', 'detail'].some((name) => body[name] !== undefined)
    return says && names.every((name) => ERROR_FIELDS.has(name))
  } catch {
    return false
  }
}

const ERROR_FIELDS = new Set([
  'error',
  'error_type',
  'errors',
  'message',
  'detail',
  'status',
  'statusCode',
  'code',
  'path',
  'timestamp',
  'warnings',
])

function quote(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return JSON.stringify(line.length > QUOTE_CHARACTERS_MAX ? `${line.slice(0, QUOTE_CHARACTERS_MAX)}…` : line)
}

async function headOf(path: string): Promise<{ text: string; size: number }> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return { text: buffer.toString('utf8', 0, bytesRead), size }
  } finally {
    await file.close()
  }
}
