// Oniguruma's patterns, in which tokenizer.json is written, as JavaScript's. Ruby's syntax, as Rust's `onig` has
// by default: https://github.com/kkos/oniguruma/blob/master/doc/RE. What has no equal here is refused by name.

/** The pattern for all matches in a text. Throws an `Error` that names what is not supported. */
export function compilePattern(source: string): RegExp {
  const translated = new Translator(source).translate()
  try {
    // `v` has sets in classes; `i` only where the pattern says so.
    return new RegExp(translated, 'gv')
  } catch {
    throw new Error(`the pattern ${JSON.stringify(source)} is not supported`)
  }
}

/** With the superscripts and fractions of Latin-1, which Oniguruma's own table counts. */
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u{b2}\\u{b3}\\u{b9}\\u{bc}-\\u{be}'

/** Inside a class, and alone; the capital letter is the complement. */
const SETS: Readonly<Record<string, string>> = {
  d: '\\p{Nd}',
  s: '\\p{White_Space}',
  w: WORD,
  h: '0-9A-Fa-f',
}

const CONTROLS: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, f: 12, v: 11, a: 7, e: 27 }

/** POSIX names, which \p takes, too. */
const NAMES: Readonly<Record<string, string>> = {
  alpha: '\\p{Alphabetic}',
  digit: '\\p{Nd}',
  alnum: '\\p{Alphabetic}\\p{Nd}',
  upper: '\\p{Uppercase}',
  lower: '\\p{Lowercase}',
  space: '\\p{White_Space}',
  punct: '\\p{P}$+<=>^`\\|~',
  blank: '\\p{Zs}\\t',
  cntrl: '\\p{Cc}',
  xdigit: '0-9A-Fa-f',
  word: WORD,
  ascii: '\\0-\\x7f',
  any: '\\0-\\u{10ffff}',
}

const BOUNDARY = `(?:(?<=[${WORD}])(?![${WORD}])|(?<![${WORD}])(?=[${WORD}]))`
const ANCHORS: Readonly<Record<string, string>> = {
  A: '(?<![^])',
  z: '(?![^])',
  Z: '(?=\\n?(?![^]))',
  b: BOUNDARY,
  B: `(?!${BOUNDARY})`,
}

/** Group beginnings that mean the same in JavaScript. */
const GROUPS = ['(?:', '(?=', '(?!', '(?<=', '(?<!']
const FLAGS = /^\(\?(i|-i)(:|\))/
const QUANTIFIER = /^(?:[*+?]|\{(\d*)(?:(,)(\d*))?\})/

class Translator {
  readonly #source: string
  #at = 0
  /** Groups that stand for possessive and atomic ones. */
  #atoms = 0

  constructor(source: string) {
    this.#source = source
  }

  translate(): string {
    const all = this.#alternatives()
    if (this.#at < this.#source.length) throw this.#unsupported(')')
    return all
  }

  /** Up to the end of the group. */
  #alternatives(): string {
    let result = ''
    while (this.#at < this.#source.length && this.#peek() !== ')') {
      if (this.#peek() === '|') {
        this.#at += 1
        result += '|'
        continue
      }
      const flags = FLAGS.exec(this.#rest())
      if (flags?.[2] === ')') {
        // Until the group's end, its other alternatives included.
        this.#at += flags[0].length
        result += `(?${flags[1]}:${this.#alternatives()})`
      } else result += this.#quantified()
    }
    return result
  }

  #quantified(): string {
    let atom = this.#atom()
    for (let found = this.#quantifier(); found !== undefined; found = this.#quantifier()) {
      const isInterval = found.startsWith('{')
      const next = this.#peek()
      if (next === '?' && isInterval && /^\{\d+\}$/.test(found)) throw this.#unsupported(`${found}?`)
      if (next === '?') {
        this.#at += 1
        atom = `(?:${atom}${found}?)`
      } else if (next === '+' && !isInterval) {
        this.#at += 1
        atom = this.#atomic(`${atom}${found}`)
        // Ruby has no possessive intervals: a quantifier behind one repeats it.
      } else atom = `(?:${atom}${found})`
    }
    return atom
  }

  #quantifier(): string | undefined {
    const [whole, least, comma, most] = QUANTIFIER.exec(this.#rest()) ?? []
    if (whole === undefined) return undefined
    // A brace that is no interval is a character.
    if (whole.startsWith('{') && (least ?? '') === '' && (most ?? '') === '') return undefined
    this.#at += whole.length
    if (!whole.startsWith('{')) return whole
    return `{${least === '' ? '0' : least}${comma ?? ''}${most ?? ''}}`
  }

  #atomic(inner: string): string {
    this.#atoms += 1
    return `(?:(?=(?<atom${this.#atoms}>${inner}))\\k<atom${this.#atoms}>)`
  }

  #atom(): string {
    const character = this.#peek()
    if (character === '(') return this.#group()
    if (character === '[') return this.#class()
    if (character === '\\') return this.#escape()
    this.#at += character.length
    if (character === '.') return '[^\\n]'
    if (character === '^') return '(?<![^\\n])'
    if (character === '$') return '(?![^\\n])'
    if (/[*+?]/.test(character)) throw this.#unsupported(character)
    return literal(character)
  }

  #group(): string {
    const flags = FLAGS.exec(this.#rest())
    const plain = GROUPS.find((start) => this.#rest().startsWith(start))
    if (flags !== null) return this.#enclosed(flags[0], `(?${flags[1]}:`)
    if (plain !== undefined) return this.#enclosed(plain, plain)
    if (this.#rest().startsWith('(?>')) {
      const inner = this.#enclosed('(?>', '(?:')
      return this.#atomic(inner)
    }
    const named = /^\((?:\?<[A-Za-z_]\w*>)?(?!\?)/.exec(this.#rest())
    if (named === null) throw this.#unsupported(this.#rest().slice(0, 4))
    // Nothing refers to a group: back-references are refused.
    return this.#enclosed(named[0], '(?:')
  }

  #enclosed(start: string, translated: string): string {
    this.#at += start.length
    const inner = this.#alternatives()
    if (this.#peek() !== ')') throw this.#unsupported(start)
    this.#at += 1
    return `${translated}${inner})`
  }

  #escape(): string {
    const letter = this.#source.charAt(this.#at + 1)
    const anchor = ANCHORS[letter]
    if (anchor === undefined) return `[${this.#escapedSet()}]`
    this.#at += 2
    return anchor
  }

  /** An escape that stands for characters, as what goes into a class. */
  #escapedSet(): string {
    const letter = this.#source.charAt(this.#at + 1)
    const set = SETS[letter.toLowerCase()]
    if (set !== undefined) {
      this.#at += 2
      return letter === letter.toLowerCase() ? set : `[^${set}]`
    }
    if (letter === 'p' || letter === 'P') return this.#property()
    return literal(String.fromCodePoint(this.#code()))
  }

  #property(): string {
    const [whole, letter, caret, name = ''] = /^\\([pP])\{(\^?)([\w =-]+)\}/.exec(this.#rest()) ?? []
    if (whole === undefined) throw this.#unsupported(this.#rest().slice(0, 4))
    this.#at += whole.length
    const set = propertyOf(name)
    if (set === undefined) throw this.#unsupported(whole)
    return (letter === 'P') !== (caret === '^') ? `[^${set}]` : `[${set}]`
  }

  /** The character of an escape, or the next one as it is. */
  #code(): number {
    const hex = /^\\(?:x\{([\dA-Fa-f]+)\}|x([\dA-Fa-f]{1,2})|u([\dA-Fa-f]{4}))/.exec(this.#rest())
    if (hex !== null) {
      this.#at += hex[0].length
      return parseInt(hex[1] ?? hex[2] ?? hex[3] ?? '', 16)
    }
    if (this.#peek() === '\\') {
      this.#at += 1
      const letter = this.#peek()
      if (/[A-Za-z0-9]/.test(letter) && CONTROLS[letter] === undefined) throw this.#unsupported(`\\${letter}`)
      this.#at += letter.length
      return CONTROLS[letter] ?? letter.codePointAt(0) ?? 0
    }
    const character = this.#peek()
    this.#at += character.length
    return character.codePointAt(0) ?? 0
  }

  #class(): string {
    this.#at += 1
    let result = '['
    if (this.#peek() === '^') {
      this.#at += 1
      result += '^'
    }
    let isFirst = true
    for (; this.#peek() !== ']' || isFirst; isFirst = false) {
      if (this.#at >= this.#source.length) throw this.#unsupported('[')
      result += this.#classPart()
    }
    this.#at += 1
    return `${result}]`
  }

  #classPart(): string {
    const posix = /^\[:(\^?)(\w+):\]/.exec(this.#rest())
    if (posix !== null) {
      const set = NAMES[posix[2] ?? '']
      if (set === undefined) throw this.#unsupported(posix[0])
      this.#at += posix[0].length
      return posix[1] === '^' ? `[^${set}]` : `[${set}]`
    }
    if (this.#peek() === '[') return this.#class()
    if (this.#rest().startsWith('&&')) throw this.#unsupported('&&')
    if (/^\\[dDsSwWhHpP]/.test(this.#rest())) return this.#escapedSet()
    const from = literal(String.fromCodePoint(this.#code()))
    if (!/^-[^\]]/.test(this.#rest()) || /^-(?:\\[dDsSwWhHpP]|\[)/.test(this.#rest())) return from
    this.#at += 1
    return `${from}-${literal(String.fromCodePoint(this.#code()))}`
  }

  /** The next character; '' at the end. */
  #peek(): string {
    const code = this.#source.codePointAt(this.#at)
    return code === undefined ? '' : String.fromCodePoint(code)
  }

  #rest(): string {
    return this.#source.slice(this.#at)
  }

  #unsupported(what: string): Error {
    return new Error(`${what} in the pattern ${JSON.stringify(this.#source)} is not supported`)
  }
}

/** A character by its number, unless it is a letter or a digit: those mean themselves everywhere. */
function literal(character: string): string {
  if (/^[A-Za-z0-9]$/.test(character)) return character
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`
}

/** A general category, a script, or a binary property, as Oniguruma names it. */
function propertyOf(name: string): string | undefined {
  const known = NAMES[name.toLowerCase()]
  if (known !== undefined) return known
  const plain = name.replaceAll(' ', '_')
  return [plain, `Script=${plain}`, `General_Category=${plain}`]
    .map((each) => `\\p{${each}}`)
    .find(isProperty)
}

function isProperty(set: string): boolean {
  try {
    return new RegExp(set, 'v').source === set
  } catch {
    return false
  }
}
