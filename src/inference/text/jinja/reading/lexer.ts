// Cuts a template into tokens as Jinja2's lexer does with trim_blocks and lstrip_blocks.
import { TemplateError } from '../values/values.ts'

export type TokenKind = 'data' | 'name' | 'string' | 'integer' | 'float' | 'operator' | 'begin' | 'end'

export interface Token {
  kind: TokenKind
  /** A string's value; 'block' or 'variable' for `begin` and `end`. */
  text: string
  line: number
}

/** White space as Python's `str.isspace` and `\s` define it. */
export const SPACE = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'

const TRAILING_SPACE = new RegExp(`${SPACE}+$`)
const ONLY_SPACE = new RegExp(`^${SPACE}*$`)
const NEXT_TAG = new RegExp(`\\{%([-+]?)${SPACE}*raw${SPACE}*(-%\\}${SPACE}*|%\\})|\\{([%{#])([-+]?)`, 'g')
const RAW_END = new RegExp(`\\{%([-+]?)${SPACE}*endraw${SPACE}*(?:\\+%\\}|-%\\}${SPACE}*|%\\}\\n?)`, 'g')
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}${SPACE}*|#\\}\\n?`, 'g')
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}${SPACE}*|%\\}\\n?`, 'y')
const VARIABLE_END = new RegExp(`-\\}\\}${SPACE}*|\\}\\}`, 'y')

const RULES: readonly [TokenKind | 'space', RegExp][] = [
  ['space', new RegExp(`${SPACE}+`, 'y')],
  ['float', /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/y],
  ['integer', /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y],
  ['name', /[\p{L}_][\p{L}\p{N}\p{M}_]*/uy],
  ['string', /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"/y],
  ['operator', /\*\*|\/\/|==|!=|>=|<=|[-+*/%~[\](){}<>=.:|,;]/y],
]

const OPENING = '([{'
const CLOSING = ')]}'

export function tokenize(source: string): Token[] {
  return new Lexer(source.replace(/\r\n?/g, '\n').replace(/\n$/, '')).run()
}

class Lexer {
  readonly #source: string
  readonly #tokens: Token[] = []
  #place = 0
  #line = 1
  /** Whether what was read last ended a line. */
  #startsLine = true

  constructor(source: string) {
    this.#source = source
  }

  run(): Token[] {
    while (this.#place < this.#source.length) this.#readData()
    return this.#tokens
  }

  #readData(): void {
    NEXT_TAG.lastIndex = this.#place
    const tag = NEXT_TAG.exec(this.#source)
    const text = this.#source.slice(this.#place, tag?.index)
    if (tag === null) {
      this.#push('data', text)
      this.#place = this.#source.length
      return
    }
    const [whole, rawSign, rawEnd, kind, sign = rawSign ?? ''] = tag
    this.#push('data', this.#trimBefore(text, sign, kind === '{'))
    this.#advance(text.length + whole.length)
    if (rawEnd !== undefined) this.#readRaw()
    else if (kind === '#') this.#skipComment()
    else this.#readTag(kind === '%' ? 'block' : 'variable')
  }

  /** White space before a tag goes with `-`, and up to the start of the line unless the tag has `+` or prints. */
  #trimBefore(text: string, sign: string, isVariable: boolean): string {
    if (sign === '-') return text.replace(TRAILING_SPACE, '')
    if (sign === '+' || isVariable) return text
    const lineStart = text.lastIndexOf('\n') + 1
    const isTrimmed = (lineStart > 0 || this.#startsLine) && ONLY_SPACE.test(text.slice(lineStart))
    return isTrimmed ? text.slice(0, lineStart) : text
  }

  #readRaw(): void {
    RAW_END.lastIndex = this.#place
    const end = RAW_END.exec(this.#source)
    if (end === null) throw this.#error('the raw block has no endraw')
    const text = this.#source.slice(this.#place, end.index)
    this.#push('data', this.#trimBefore(text, end[1] ?? '', false))
    this.#advance(text.length + end[0].length)
  }

  #skipComment(): void {
    COMMENT_END.lastIndex = this.#place
    const end = COMMENT_END.exec(this.#source)
    if (end === null) throw this.#error('a comment has no end')
    this.#advance(end.index + end[0].length - this.#place)
  }

  #readTag(kind: 'block' | 'variable'): void {
    this.#push('begin', kind)
    const end = kind === 'block' ? BLOCK_END : VARIABLE_END
    const open: string[] = []
    while (this.#place < this.#source.length) {
      end.lastIndex = this.#place
      const found = open.length === 0 ? end.exec(this.#source) : null
      if (found !== null) {
        this.#push('end', kind)
        this.#advance(found[0].length)
        return
      }
      this.#readToken(open)
    }
    throw this.#error(`a ${kind} has no end`)
  }

  #readToken(open: string[]): void {
    for (const [kind, rule] of RULES) {
      rule.lastIndex = this.#place
      const text = rule.exec(this.#source)?.[0]
      if (text === undefined) continue
      if (kind === 'operator') this.#balance(text, open)
      if (kind !== 'space') this.#push(kind, kind === 'string' ? unescape(text.slice(1, -1)) : text)
      this.#advance(text.length)
      return
    }
    throw this.#error(`unexpected ${JSON.stringify(this.#source[this.#place])}`)
  }

  #balance(operator: string, open: string[]): void {
    if (OPENING.includes(operator)) open.push(operator)
    if (!CLOSING.includes(operator)) return
    const opened = open.pop()
    if (opened === undefined || OPENING.indexOf(opened) !== CLOSING.indexOf(operator)) {
      throw this.#error(`unexpected "${operator}"`)
    }
  }

  #push(kind: TokenKind, text: string): void {
    if (kind !== 'data' || text !== '') this.#tokens.push({ kind, text, line: this.#line })
  }

  #advance(count: number): void {
    const passed = this.#source.slice(this.#place, this.#place + count)
    for (const character of passed) if (character === '\n') this.#line += 1
    if (passed !== '') this.#startsLine = passed.endsWith('\n')
    this.#place += count
  }

  #error(what: string): TemplateError {
    return new TemplateError(`line ${this.#line}: ${what}`)
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

/** As Python reads the escapes of a string literal; an unknown one stands for itself. */
function unescape(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g,
    (whole: string, ...groups: (string | undefined)[]) => {
      const [x, u, long, octal, one = ''] = groups
      const hex = x ?? u ?? long
      if (hex !== undefined) return String.fromCodePoint(parseInt(hex, 16))
      if (octal !== undefined) return String.fromCodePoint(parseInt(octal, 8))
      return ESCAPES[one] ?? whole
    },
  )
}
