// Reads expressions, by the grammar of Jinja2 3.1. Filters, tests and methods that we lack are refused here.
import type { BinaryOperator, CallArguments, CompareOperator, Expression, FilterCall } from './ast.ts'
import type { Token } from './lexer.ts'
import { TokenCursor } from './token-cursor.ts'
import { integer } from '../values/values.ts'

/** The names that a template may use beside its own. */
export interface KnownNames {
  filters: ReadonlySet<string>
  tests: ReadonlySet<string>
  /** Methods that Python has and we have not. */
  missingMethods: ReadonlySet<string>
}

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>='])
export const CONSTANTS: Readonly<Record<string, boolean | null>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
}

export class ExpressionParser extends TokenCursor {
  readonly #known: KnownNames
  /** Uses of the filter `safe` whose value is not printed at once: what is joined to them would be escaped. */
  protected safeCount = 0
  /** Names that the macros being read use. */
  protected macroNames: Set<string>[] = []

  constructor(tokens: readonly Token[], known: KnownNames) {
    super(tokens)
    this.#known = known
  }

  protected filterChain(): FilterCall[] {
    const filters: FilterCall[] = []
    while (this.takeOperator('|')) filters.push(this.filterCall())
    return filters
  }

  protected filterCall(): FilterCall {
    const name = this.#filterName()
    return { name, args: this.isOperator('(') ? this.#arguments() : noArguments() }
  }

  #filterName(): string {
    const name = this.#dottedName()
    if (name === 'safe') this.safeCount += 1
    else if (!this.#known.filters.has(name)) throw this.error(`the filter "${name}" is not supported`)
    return name
  }

  /** One expression, or several with commas between them. */
  protected tuple(options: {
    hasConditional?: boolean
    isInParentheses?: boolean
    ends?: readonly string[]
  }): Expression {
    const { hasConditional = true, isInParentheses = false, ends = [] } = options
    const items: Expression[] = []
    let isTuple = false
    for (;;) {
      if (items.length > 0) {
        if (!this.takeOperator(',')) break
        isTuple = true
      }
      if (this.#endsTuple(ends)) break
      items.push(hasConditional ? this.expression() : this.#or())
      if (!this.isOperator(',')) break
    }
    if (isTuple) return { kind: 'tuple', items }
    if (items[0] !== undefined) return items[0]
    if (isInParentheses) return { kind: 'tuple', items: [] }
    throw this.error('an expression is missing')
  }

  #endsTuple(ends: readonly string[]): boolean {
    const token = this.peek()
    if (token === undefined || token.kind === 'end' || this.isOperator(')')) return true
    return token.kind === 'name' && ends.includes(token.text)
  }

  protected expression(): Expression {
    let value = this.#or()
    while (this.takeKeyword('if')) {
      const test = this.#or()
      const otherwise = this.takeKeyword('else') ? this.expression() : undefined
      value = { kind: 'conditional', test, value, otherwise }
    }
    return value
  }

  #or(): Expression {
    let left = this.#and()
    while (this.takeKeyword('or')) left = { kind: 'logic', operator: 'or', left, right: this.#and() }
    return left
  }

  #and(): Expression {
    let left = this.#not()
    while (this.takeKeyword('and')) left = { kind: 'logic', operator: 'and', left, right: this.#not() }
    return left
  }

  #not(): Expression {
    return this.takeKeyword('not') ? { kind: 'unary', operator: 'not', of: this.#not() } : this.#compare()
  }

  #compare(): Expression {
    const first = this.#sum()
    const rest: [CompareOperator, Expression][] = []
    for (;;) {
      const operator = this.#comparison()
      if (operator === undefined) break
      rest.push([operator, this.#sum()])
    }
    return rest.length === 0 ? first : { kind: 'compare', first, rest }
  }

  #comparison(): CompareOperator | undefined {
    const token = this.peek()
    if (token?.kind === 'operator' && COMPARISONS.has(token.text)) {
      this.place += 1
      return token.text as CompareOperator
    }
    if (this.takeKeyword('in')) return 'in'
    const next = this.tokens[this.place + 1]
    if (!this.isKeyword('not') || next?.kind !== 'name' || next.text !== 'in') return undefined
    this.place += 2
    return 'not in'
  }

  #binary(operators: readonly BinaryOperator[], operand: () => Expression): Expression {
    let left = operand()
    for (;;) {
      const operator = operators.find((candidate) => this.takeOperator(candidate))
      if (operator === undefined) return left
      left = { kind: 'binary', operator, left, right: operand() }
    }
  }

  #sum(): Expression {
    return this.#binary(['+', '-'], () => this.#concatenation())
  }

  #concatenation(): Expression {
    return this.#binary(['~'], () => this.#product())
  }

  #product(): Expression {
    return this.#binary(['*', '/', '//', '%'], () => this.#power())
  }

  #power(): Expression {
    return this.#binary(['**'], () => this.#unary(true))
  }

  #unary(takesFilters: boolean): Expression {
    const sign = this.takeOperator('-') ? '-' : this.takeOperator('+') ? '+' : undefined
    const inner: Expression =
      sign === undefined ? this.#primary() : { kind: 'unary', operator: sign, of: this.#unary(false) }
    const value = this.#postfix(inner)
    return takesFilters ? this.#filtered(value) : value
  }

  #primary(): Expression {
    const token = this.next()
    switch (token.kind) {
      case 'name':
        return this.#nameOrConstant(token.text)
      case 'string':
        return { kind: 'constant', value: this.#adjacentStrings(token.text) }
      case 'integer':
        return { kind: 'constant', value: { int: integer(Number(token.text.replaceAll('_', ''))) } }
      case 'float':
        return { kind: 'constant', value: { float: Number(token.text.replaceAll('_', '')) } }
      case 'operator':
        return this.#bracketed(token)
      default:
        throw this.error(`unexpected end of an expression`)
    }
  }

  #nameOrConstant(name: string): Expression {
    const value = CONSTANTS[name]
    if (value !== undefined) return { kind: 'constant', value }
    if (name === 'self') throw this.error('the name "self" is not supported')
    for (const names of this.macroNames) names.add(name)
    return { kind: 'name', name }
  }

  #adjacentStrings(first: string): string {
    let text = first
    while (this.peek()?.kind === 'string') text += this.next().text
    return text
  }

  #bracketed({ text }: Token): Expression {
    if (text === '(') {
      const value = this.tuple({ isInParentheses: true })
      this.operator(')')
      return value
    }
    if (text === '[') return { kind: 'list', items: this.#itemsUntil(']', () => this.expression()) }
    if (text === '{') return { kind: 'dict', entries: this.#itemsUntil('}', () => this.#entry()) }
    throw this.error(`unexpected "${text}"`)
  }

  #entry(): [Expression, Expression] {
    const key = this.expression()
    this.operator(':')
    return [key, this.expression()]
  }

  #itemsUntil<T>(end: string, read: () => T): T[] {
    const items: T[] = []
    while (!this.isOperator(end)) {
      if (items.length > 0) this.operator(',')
      if (this.isOperator(end)) break
      items.push(read())
    }
    this.operator(end)
    return items
  }

  #postfix(start: Expression): Expression {
    let value = start
    for (;;) {
      if (this.takeOperator('.')) value = this.#attribute(value)
      else if (this.takeOperator('[')) value = this.#subscript(value)
      else if (this.isOperator('(')) value = { kind: 'call', of: value, args: this.#arguments() }
      else return value
    }
  }

  #attribute(of: Expression): Expression {
    const token = this.next()
    if (token.kind === 'integer') {
      return { kind: 'item', of, key: { kind: 'constant', value: { int: integer(Number(token.text)) } } }
    }
    if (token.kind !== 'name') throw this.error('a name should follow "."')
    if (this.#known.missingMethods.has(token.text) && this.isOperator('(')) {
      throw this.error(`the method "${token.text}" is not supported`)
    }
    return { kind: 'attribute', of, name: token.text }
  }

  #subscript(of: Expression): Expression {
    const parts: (Expression | undefined)[] = []
    const isPart = (): boolean => !this.isOperator(':') && !this.isOperator(']')
    parts.push(isPart() ? this.expression() : undefined)
    let isSlice = false
    while (this.takeOperator(':')) {
      isSlice = true
      parts.push(isPart() ? this.expression() : undefined)
    }
    if (this.isOperator(',')) throw this.error('an index of several values is not supported')
    this.operator(']')
    const [start, stop, step] = parts
    if (isSlice && parts.length <= 3) return { kind: 'slice', of, start, stop, step }
    if (isSlice || start === undefined) throw this.error('an index is missing')
    return { kind: 'item', of, key: start }
  }

  #arguments(): CallArguments {
    const args = noArguments()
    this.operator('(')
    let isFirst = true
    while (!this.isOperator(')')) {
      if (!isFirst) {
        this.operator(',')
        if (this.isOperator(')')) break
      }
      isFirst = false
      this.#argument(args)
    }
    this.operator(')')
    return args
  }

  #argument(args: CallArguments): void {
    const next = this.tokens[this.place + 1]
    const isNamed = this.peek()?.kind === 'name' && next?.kind === 'operator' && next.text === '='
    if (this.takeOperator('**')) args.entries = this.expression()
    else if (this.takeOperator('*')) args.items = this.expression()
    else if (isNamed) {
      const name = this.name()
      this.operator('=')
      args.named.push([name, this.expression()])
    } else {
      if (args.named.length > 0 || args.entries !== undefined) {
        throw this.error('an argument without a name follows one with a name')
      }
      args.positional.push(this.expression())
    }
  }

  #filtered(start: Expression): Expression {
    let value = start
    for (;;) {
      if (this.takeOperator('|')) value = { kind: 'filter', of: value, ...this.filterCall() }
      else if (this.takeKeyword('is')) value = this.#test(value)
      else if (this.isOperator('(')) value = { kind: 'call', of: value, args: this.#arguments() }
      else return value
    }
  }

  #test(of: Expression): Expression {
    const isNegated = this.takeKeyword('not')
    const name = this.#dottedName()
    if (!this.#known.tests.has(name)) throw this.error(`the test "${name}" is not supported`)
    return { kind: 'test', of, name, args: this.#testArguments(), isNegated }
  }

  #testArguments(): CallArguments {
    if (this.isOperator('(')) return this.#arguments()
    const token = this.peek()
    const args = noArguments()
    const isWord = token?.kind === 'name' && !['else', 'or', 'and'].includes(token.text)
    const isValue = token !== undefined && ['string', 'integer', 'float'].includes(token.kind)
    if (isWord || isValue || this.isOperator('[') || this.isOperator('{')) {
      if (token?.text === 'is' && token.kind === 'name') throw this.error('tests cannot be chained with "is"')
      args.positional.push(this.#postfix(this.#primary()))
    }
    return args
  }

  #dottedName(): string {
    let name = this.name()
    while (this.takeOperator('.')) name += `.${this.name()}`
    return name
  }
}

function noArguments(): CallArguments {
  return { positional: [], named: [], items: undefined, entries: undefined }
}
