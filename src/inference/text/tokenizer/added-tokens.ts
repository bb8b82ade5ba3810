// Tokens that are cut out of a text before the model sees it.
import { flagOf, textOf, type Part } from './parts.ts'

export interface AddedToken {
  id: number
  content: string
  isSpecial: boolean
  isNormalized: boolean
  isSingleWord: boolean
  stripsLeft: boolean
  stripsRight: boolean
}

export function readAddedToken(part: Part): Omit<AddedToken, 'id'> {
  const isSpecial = flagOf(part, 'special', false)
  return {
    content: textOf(part, 'content'),
    isSpecial,
    isNormalized: flagOf(part, 'normalized', !isSpecial),
    isSingleWord: flagOf(part, 'single_word', false),
    stripsLeft: flagOf(part, 'lstrip', false),
    stripsRight: flagOf(part, 'rstrip', false),
  }
}

/** A stretch of text, or the added token that it is. */
export type Section = { token: AddedToken } | { text: string; isFirst: boolean }

interface Node {
  children: Map<string, Node>
  token: AddedToken | undefined
}

const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]'
const ENDS_WITH_WORD = new RegExp(`${WORD}$`, 'u')
const STARTS_WITH_WORD = new RegExp(`^${WORD}`, 'u')

/** Finds added tokens: the leftmost, of those the longest. */
export class AddedTokenFinder {
  readonly #root: Node = { children: new Map(), token: undefined }
  /** Any first character of a token: a text is searched, not walked. */
  readonly #starts: RegExp

  constructor(tokens: readonly (readonly [content: string, token: AddedToken])[]) {
    for (const [content, token] of tokens) if (content !== '') this.#insert(content, token)
    const units = [...this.#root.children.keys()].map(
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    this.#starts = new RegExp(units.length === 0 ? '(?!)' : `[${units.join('')}]`, 'g')
  }

  split({ text, isFirst }: { text: string; isFirst: boolean }): Section[] {
    const sections: Section[] = []
    let place = 0
    let from = 0
    const pushText = (end: number): void => {
      if (end > place) sections.push({ text: text.slice(place, end), isFirst: isFirst && place === 0 })
    }
    for (from = this.#next(text, from); from < text.length; from = this.#next(text, from)) {
      const match = this.#matchAt(text, from)
      if (match === undefined) from += 1
      else {
        const { token, end } = match
        if (!token.isSingleWord || isAlone(text, from, end)) {
          const start = token.stripsLeft ? Math.max(place, leftOf(text, from)) : from
          pushText(start)
          sections.push({ token })
          place = token.stripsRight ? rightOf(text, end) : end
        }
        from = end
      }
    }
    pushText(text.length)
    return sections
  }

  /** The next place where a token may begin; the text's end for none. */
  #next(text: string, from: number): number {
    this.#starts.lastIndex = from
    return this.#starts.test(text) ? this.#starts.lastIndex - 1 : text.length
  }

  #insert(content: string, token: AddedToken): void {
    let node = this.#root
    for (let index = 0; index < content.length; index += 1) {
      const unit = content.charAt(index)
      let child = node.children.get(unit)
      if (child === undefined) {
        child = { children: new Map(), token: undefined }
        node.children.set(unit, child)
      }
      node = child
    }
    node.token = token
  }

  #matchAt(text: string, start: number): { token: AddedToken; end: number } | undefined {
    let node: Node | undefined = this.#root
    let match: { token: AddedToken; end: number } | undefined
    for (let end = start; end < text.length; end += 1) {
      node = node.children.get(text.charAt(end))
      if (node === undefined) break
      if (node.token !== undefined) match = { token: node.token, end: end + 1 }
    }
    return match
  }
}

function isAlone(text: string, start: number, end: number): boolean {
  const before = Array.from(text.slice(Math.max(0, start - 2), start)).at(-1) ?? ''
  return !ENDS_WITH_WORD.test(before) && !STARTS_WITH_WORD.test(text.slice(end, end + 2))
}

function leftOf(text: string, start: number): number {
  let place = start
  while (place > 0 && /\p{White_Space}/u.test(text.charAt(place - 1))) place -= 1
  return place
}

function rightOf(text: string, end: number): number {
  let place = end
  while (place < text.length && /\p{White_Space}/u.test(text.charAt(place))) place += 1
  return place
}
