import { readFileSync } from 'node:fs'
import { isMap, isSeq, LineCounter, parseDocument, type Document } from 'yaml'
import { HearthError, messageOf } from '../../src/base/errors.ts'

/** A YAML file, and where in it everything is. */
export interface Source {
  file: string
  document: Document
  lines: LineCounter
}

/** Throws `scenario-invalid` with the line that is no YAML. */
export function readSource(file: string): Source {
  const lines = new LineCounter()
  const document = parseDocument(readText(file), { lineCounter: lines })
  const [error] = document.errors
  if (error !== undefined) {
    const { line } = lines.linePos(error.pos[0])
    throw new HearthError('scenario-invalid', `${file}:${line}: ${error.message.split('\n')[0]}`)
  }
  if (!isMap(document.contents))
    throw new HearthError('scenario-invalid', `${file}:1: it is no map of settings, such as "title: …"`)
  return { file, document, lines }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new HearthError('scenario-invalid', `Cannot read the scenario ${file}: ${messageOf(cause)}`, {
      cause,
    })
  }
}

/** The source that says what the path names: the first one that does. */
export function ownerOf(sources: readonly Source[], path: readonly string[]): Source | undefined {
  return sources.find(({ document }) => document.hasIn(path))
}

/** "file:line" of the deepest part of the path that is there. */
export function at(source: Source | undefined, path: readonly string[]): string {
  if (source === undefined) return 'scenario'
  const { document, lines, file } = source
  for (let length = path.length; length > 0; length -= 1) {
    const offset = offsetOf(document, path.slice(0, length))
    if (offset !== undefined) return `${file}:${lines.linePos(offset).line}`
  }
  return `${file}:1`
}

function offsetOf(document: Document, path: readonly string[]): number | undefined {
  const parent = document.getIn(path.slice(0, -1), true)
  const last = path.at(-1) as string
  if (isMap(parent)) {
    const pair = parent.items.find((item) => String(item.key) === last)
    return (pair?.key as { range?: [number] } | undefined)?.range?.[0]
  }
  if (!isSeq(parent)) return undefined
  return (parent.items[Number(last)] as { range?: [number] } | undefined)?.range?.[0]
}
