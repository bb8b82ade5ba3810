import { HearthError } from '../../base/errors.ts'

/** A piece of a template: literal text, or the name of a record's field. */
type Piece = { kind: 'text'; text: string } | { kind: 'field'; name: string }

/**
 * Text with `{field}` in it, filled from a record. `{{` and `}}` are braces, `\n`, `\t` and `\\` are
 * what they usually are, since a shell passes them on as they stand.
 */
export class Template {
  readonly #pieces: readonly Piece[]

  /** Throws `usage` for a template without a field or with an unpaired brace. */
  constructor(source: string) {
    this.#pieces = parse(unescape(source))
    if (!this.#pieces.some(({ kind }) => kind === 'field')) {
      throw new HearthError(
        'usage',
        'the template uses no field: write {name} where a record’s value belongs',
      )
    }
  }

  /** The text before the first field: the common prefix of the job's prompts. */
  get prefix(): string {
    const [first] = this.#pieces
    return first?.kind === 'text' ? first.text : ''
  }

  /** The filled text, or the name of the field that the record lacks. */
  fill(record: Readonly<Record<string, unknown>>): { text: string } | { missing: string } {
    let text = ''
    for (const piece of this.#pieces) {
      if (piece.kind === 'text') {
        text += piece.text
        continue
      }
      const value = record[piece.name]
      if (value === undefined || value === null) return { missing: piece.name }
      text += typeof value === 'string' ? value : JSON.stringify(value)
    }
    return { text }
  }
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', '\\': '\\' }

function unescape(source: string): string {
  return source.replaceAll(/\\([nt\\])/g, (_all, letter: string) => ESCAPES[letter] ?? letter)
}

function parse(source: string): Piece[] {
  const pieces: Piece[] = []
  const addText = (text: string): void => {
    const last = pieces.at(-1)
    if (last?.kind === 'text') last.text += text
    else if (text !== '') pieces.push({ kind: 'text', text })
  }
  let at = 0
  for (const match of source.matchAll(/\{\{|\}\}|\{([^{}]+)\}|[{}]/g)) {
    addText(source.slice(at, match.index))
    at = match.index + match[0].length
    const name = match[1]
    if (name !== undefined) pieces.push({ kind: 'field', name: name.trim() })
    else if (match[0].length === 2) addText(match[0].slice(1))
    else
      throw new HearthError(
        'usage',
        `the template has an unpaired "${match[0]}": write it twice to mean the character`,
      )
  }
  addText(source.slice(at))
  return pieces
}
