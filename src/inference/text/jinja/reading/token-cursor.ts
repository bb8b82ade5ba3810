import type { Token } from './lexer.ts'
import { TemplateError } from '../values/values.ts'

/** A place in a template's tokens, and what may stand there. */
export class TokenCursor {
  protected readonly tokens: readonly Token[]
  protected place = 0

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens
  }

  protected peek(): Token | undefined {
    return this.tokens[this.place]
  }

  protected next(): Token {
    const token = this.tokens[this.place]
    if (token === undefined) throw this.error('the template ends inside a tag')
    this.place += 1
    return token
  }

  protected name(): string {
    const token = this.next()
    if (token.kind !== 'name') throw this.error(`a name should be where "${token.text}" is`)
    return token.text
  }

  protected isKeyword(name: string): boolean {
    const token = this.peek()
    return token?.kind === 'name' && token.text === name
  }

  protected takeKeyword(name: string): boolean {
    if (!this.isKeyword(name)) return false
    this.place += 1
    return true
  }

  protected keyword(name: string): void {
    if (!this.takeKeyword(name)) throw this.error(`"${name}" should be where "${this.peek()?.text}" is`)
  }

  protected isOperator(text: string): boolean {
    const token = this.peek()
    return token?.kind === 'operator' && token.text === text
  }

  protected takeOperator(text: string): boolean {
    if (!this.isOperator(text)) return false
    this.place += 1
    return true
  }

  protected operator(text: string): void {
    if (!this.takeOperator(text)) throw this.error(`"${text}" should be where "${this.peek()?.text}" is`)
  }

  protected endTag(kind: 'block' | 'variable'): void {
    const token = this.next()
    if (token.kind !== 'end' || token.text !== kind) {
      throw this.error(`the tag should end where "${token.text}" is`)
    }
  }

  protected error(what: string): TemplateError {
    const line = this.tokens[Math.min(this.place, this.tokens.length) - 1]?.line ?? 1
    return new TemplateError(`line ${line}: ${what}`)
  }
}
