// Reads a template into a tree, by the grammar of Jinja2 3.1. What we do not render is refused here.
import type {
  BinaryOperator,
  CallArguments,
  CompareOperator,
  Expression,
  FilterCall,
  MacroDefinition,
  Parameter,
  Statement,
  Target,
} from './ast.ts'
import { tokenize, type Token } from './lexer.ts'
import { integer, TemplateError } from './values.ts'

/** The names that a template may use beside its own. */
export interface KnownNames {
  filters: ReadonlySet<string>
  tests: ReadonlySet<string>
  /** Methods that Python has and we have not. */
  missingMethods: ReadonlySet<string>
}

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>='])
const CONSTANTS: Readonly<Record<string, boolean | null>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
}

/** Statements of Jinja2 that read other templates, or that are for web pages. */
const REFUSED: ReadonlySet<string> = new Set([
  'include',
  'import',
  'from',
  'extends',
  'block',
  'autoescape',
  'do',
  'trans',
  'debug',
])

export function parseTemplate(source: string, known: KnownNames): Statement[] {
  return new Parser(tokenize(source), known).run()
}

class Parser {
  readonly #tokens: readonly Token[]
  readonly #known: KnownNames
  #place = 0
  #loopDepth = 0
  /** Uses of the filter `safe` whose value is not printed at once: what is joined to them would be escaped. */
  #safeCount = 0
  /** Names that the macro being read uses. */
  #macroNames: Set<string>[] = []

  constructor(tokens: readonly Token[], known: KnownNames) {
    this.#tokens = tokens
    this.#known = known
  }

  run(): Statement[] {
    const { body } = this.#statements([])
    if (this.#safeCount > 0) throw this.#error('the filter "safe" is supported only last in what is printed')
    return body
  }

  /** Statements up to a tag of one of these names; that name is taken, the rest of the tag is not. */
  #statements(ends: readonly string[]): { body: Statement[]; end: string } {
    const body: Statement[] = []
    for (;;) {
      const token = this.#tokens[this.#place]
      if (token === undefined) {
        if (ends.length === 0) return { body, end: '' }
        throw this.#error(`the template ends where ${ends.join(' or ')} should be`)
      }
      this.#place += 1
      if (token.kind === 'data') body.push({ kind: 'data', text: token.text })
      else if (token.text === 'variable') body.push(this.#printed())
      else {
        const name = this.#name()
        if (ends.includes(name)) return { body, end: name }
        const statement = this.#statement(name)
        if (statement !== undefined) body.push(statement)
      }
    }
  }

  #printed(): Statement {
    const value = this.#tuple({})
    this.#endTag('variable')
    if (value.kind !== 'filter' || value.name !== 'safe') return { kind: 'print', value }
    this.#safeCount -= 1
    return { kind: 'print', value: value.of }
  }

  #statement(name: string): Statement | undefined {
    switch (name) {
      case 'if':
        return this.#if()
      case 'for':
        return this.#for()
      case 'set':
        return this.#set()
      case 'macro':
        return this.#macro()
      case 'call':
        return this.#callBlock()
      case 'filter':
        return this.#filterBlock()
      case 'with':
        return this.#with()
      case 'generation': {
        this.#endTag('block')
        return { kind: 'scope', body: this.#bodyUntil('endgeneration') }
      }
      case 'break':
      case 'continue':
        if (this.#loopDepth === 0) throw this.#error(`${name} is outside of a loop`)
        this.#endTag('block')
        return { kind: name }
      default:
        throw this.#error(
          REFUSED.has(name) ? `the statement "${name}" is not supported` : `unknown statement "${name}"`,
        )
    }
  }

  #bodyUntil(end: string): Statement[] {
    const { body } = this.#statements([end])
    this.#endTag('block')
    return body
  }

  #if(): Statement {
    const branches: { test: Expression; body: Statement[] }[] = []
    for (;;) {
      const test = this.#tuple({ hasConditional: false })
      this.#endTag('block')
      const { body, end } = this.#statements(['elif', 'else', 'endif'])
      branches.push({ test, body })
      if (end === 'elif') continue
      this.#endTag('block')
      return { kind: 'if', branches, otherwise: end === 'else' ? this.#bodyUntil('endif') : [] }
    }
  }

  #for(): Statement {
    const target = this.#target({ ends: ['in'] })
    this.#keyword('in')
    const items = this.#tuple({ hasConditional: false, ends: ['recursive'] })
    const filter = this.#takeKeyword('if') ? this.#expression() : undefined
    const isRecursive = this.#takeKeyword('recursive')
    this.#endTag('block')
    this.#loopDepth += 1
    const { body, end } = this.#statements(['else', 'endfor'])
    this.#loopDepth -= 1
    this.#endTag('block')
    const otherwise = end === 'else' ? this.#bodyUntil('endfor') : []
    return { kind: 'for', target, items, filter, isRecursive, body, otherwise }
  }

  #set(): Statement {
    const target = this.#target({ allowsAttribute: true })
    if (this.#takeOperator('=')) {
      const value = this.#tuple({})
      this.#endTag('block')
      return { kind: 'set', target, value }
    }
    const filters = this.#filterChain()
    this.#endTag('block')
    return { kind: 'set-block', target, filters, body: this.#bodyUntil('endset') }
  }

  #filterChain(): FilterCall[] {
    const filters: FilterCall[] = []
    while (this.#takeOperator('|')) filters.push(this.#filterCall())
    return filters
  }

  #filterCall(): FilterCall {
    const name = this.#filterName()
    return { name, args: this.#isOperator('(') ? this.#arguments() : noArguments() }
  }

  #filterName(): string {
    const name = this.#dottedName()
    if (name === 'safe') this.#safeCount += 1
    else if (!this.#known.filters.has(name)) throw this.#error(`the filter "${name}" is not supported`)
    return name
  }

  #filterBlock(): Statement {
    const filters = [this.#filterCall(), ...this.#filterChain()]
    this.#endTag('block')
    return { kind: 'filter-block', filters, body: this.#bodyUntil('endfilter') }
  }

  #macro(): Statement {
    const name = this.#name()
    const macro = this.#definition(name, this.#parameters(), 'endmacro')
    return { kind: 'macro', macro }
  }

  #callBlock(): Statement {
    const parameters = this.#isOperator('(') ? this.#parameters() : []
    const call = this.#expression()
    if (call.kind !== 'call') throw this.#error('a call block has no call')
    return { kind: 'call-block', call, caller: this.#definition('caller', parameters, 'endcall') }
  }

  #definition(name: string, parameters: Parameter[], end: string): MacroDefinition {
    this.#endTag('block')
    this.#macroNames.push(new Set())
    const depth = this.#loopDepth
    this.#loopDepth = 0
    const body = this.#bodyUntil(end)
    this.#loopDepth = depth
    const names = this.#macroNames.pop() ?? new Set<string>()
    const extras = new Set(['varargs', 'kwargs', 'caller'].filter((extra) => names.has(extra)))
    return { name, parameters, body, extras }
  }

  #parameters(): Parameter[] {
    this.#operator('(')
    const parameters: Parameter[] = []
    while (!this.#isOperator(')')) {
      if (parameters.length > 0) this.#operator(',')
      const name = this.#name()
      const fallback = this.#takeOperator('=') ? this.#expression() : undefined
      if (fallback === undefined && parameters.some((other) => other.fallback !== undefined)) {
        throw this.#error('a parameter without a default follows one with a default')
      }
      parameters.push({ name, fallback })
    }
    this.#operator(')')
    return parameters
  }

  #with(): Statement {
    const values: [Target, Expression][] = []
    while (this.#peek()?.kind !== 'end') {
      if (values.length > 0) this.#operator(',')
      const target = this.#target({})
      this.#operator('=')
      values.push([target, this.#expression()])
    }
    this.#endTag('block')
    return { kind: 'with', values, body: this.#bodyUntil('endwith') }
  }

  #target(options: { ends?: readonly string[]; allowsAttribute?: boolean }): Target {
    const items = [this.#oneTarget(options)]
    let isTuple = false
    while (this.#takeOperator(',')) {
      isTuple = true
      const next = this.#peek()
      if (next?.kind !== 'name' && !this.#isOperator('(')) break
      if (options.ends?.includes(next?.text ?? '') === true) break
      items.push(this.#oneTarget(options))
    }
    return isTuple ? { kind: 'tuple', items } : (items[0] as Target)
  }

  #oneTarget(options: { allowsAttribute?: boolean }): Target {
    if (this.#takeOperator('(')) {
      const inner = this.#target({})
      this.#operator(')')
      return inner
    }
    const name = this.#name()
    if (name in CONSTANTS) throw this.#error(`cannot assign to ${name}`)
    if (options.allowsAttribute === true && this.#takeOperator('.')) {
      return { kind: 'attribute', of: name, name: this.#name() }
    }
    return { kind: 'name', name }
  }

  /** One expression, or several with commas between them. */
  #tuple(options: {
    hasConditional?: boolean
    isInParentheses?: boolean
    ends?: readonly string[]
  }): Expression {
    const { hasConditional = true, isInParentheses = false, ends = [] } = options
    const items: Expression[] = []
    let isTuple = false
    for (;;) {
      if (items.length > 0) {
        if (!this.#takeOperator(',')) break
        isTuple = true
      }
      if (this.#endsTuple(ends)) break
      items.push(hasConditional ? this.#expression() : this.#or())
      if (!this.#isOperator(',')) break
    }
    if (isTuple) return { kind: 'tuple', items }
    if (items[0] !== undefined) return items[0]
    if (isInParentheses) return { kind: 'tuple', items: [] }
    throw this.#error('an expression is missing')
  }

  #endsTuple(ends: readonly string[]): boolean {
    const token = this.#peek()
    if (token === undefined || token.kind === 'end' || this.#isOperator(')')) return true
    return token.kind === 'name' && ends.includes(token.text)
  }

  #expression(): Expression {
    let value = this.#or()
    while (this.#takeKeyword('if')) {
      const test = this.#or()
      const otherwise = this.#takeKeyword('else') ? this.#expression() : undefined
      value = { kind: 'conditional', test, value, otherwise }
    }
    return value
  }

  #or(): Expression {
    let left = this.#and()
    while (this.#takeKeyword('or')) left = { kind: 'logic', operator: 'or', left, right: this.#and() }
    return left
  }

  #and(): Expression {
    let left = this.#not()
    while (this.#takeKeyword('and')) left = { kind: 'logic', operator: 'and', left, right: this.#not() }
    return left
  }

  #not(): Expression {
    return this.#takeKeyword('not') ? { kind: 'unary', operator: 'not', of: this.#not() } : this.#compare()
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
    const token = this.#peek()
    if (token?.kind === 'operator' && COMPARISONS.has(token.text)) {
      this.#place += 1
      return token.text as CompareOperator
    }
    if (this.#takeKeyword('in')) return 'in'
    const next = this.#tokens[this.#place + 1]
    if (!this.#isKeyword('not') || next?.kind !== 'name' || next.text !== 'in') return undefined
    this.#place += 2
    return 'not in'
  }

  #binary(operators: readonly BinaryOperator[], operand: () => Expression): Expression {
    let left = operand()
    for (;;) {
      const operator = operators.find((candidate) => this.#takeOperator(candidate))
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
    const sign = this.#takeOperator('-') ? '-' : this.#takeOperator('+') ? '+' : undefined
    const inner: Expression =
      sign === undefined ? this.#primary() : { kind: 'unary', operator: sign, of: this.#unary(false) }
    const value = this.#postfix(inner)
    return takesFilters ? this.#filtered(value) : value
  }

  #primary(): Expression {
    const token = this.#next()
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
        throw this.#error(`unexpected end of an expression`)
    }
  }

  #nameOrConstant(name: string): Expression {
    const value = CONSTANTS[name]
    if (value !== undefined) return { kind: 'constant', value }
    if (name === 'self') throw this.#error('the name "self" is not supported')
    for (const names of this.#macroNames) names.add(name)
    return { kind: 'name', name }
  }

  #adjacentStrings(first: string): string {
    let text = first
    while (this.#peek()?.kind === 'string') text += this.#next().text
    return text
  }

  #bracketed({ text }: Token): Expression {
    if (text === '(') {
      const value = this.#tuple({ isInParentheses: true })
      this.#operator(')')
      return value
    }
    if (text === '[') return { kind: 'list', items: this.#itemsUntil(']', () => this.#expression()) }
    if (text === '{') return { kind: 'dict', entries: this.#itemsUntil('}', () => this.#entry()) }
    throw this.#error(`unexpected "${text}"`)
  }

  #entry(): [Expression, Expression] {
    const key = this.#expression()
    this.#operator(':')
    return [key, this.#expression()]
  }

  #itemsUntil<T>(end: string, read: () => T): T[] {
    const items: T[] = []
    while (!this.#isOperator(end)) {
      if (items.length > 0) this.#operator(',')
      if (this.#isOperator(end)) break
      items.push(read())
    }
    this.#operator(end)
    return items
  }

  #postfix(start: Expression): Expression {
    let value = start
    for (;;) {
      if (this.#takeOperator('.')) value = this.#attribute(value)
      else if (this.#takeOperator('[')) value = this.#subscript(value)
      else if (this.#isOperator('(')) value = { kind: 'call', of: value, args: this.#arguments() }
      else return value
    }
  }

  #attribute(of: Expression): Expression {
    const token = this.#next()
    if (token.kind === 'integer') {
      return { kind: 'item', of, key: { kind: 'constant', value: { int: integer(Number(token.text)) } } }
    }
    if (token.kind !== 'name') throw this.#error('a name should follow "."')
    if (this.#known.missingMethods.has(token.text) && this.#isOperator('(')) {
      throw this.#error(`the method "${token.text}" is not supported`)
    }
    return { kind: 'attribute', of, name: token.text }
  }

  #subscript(of: Expression): Expression {
    const parts: (Expression | undefined)[] = []
    const isPart = (): boolean => !this.#isOperator(':') && !this.#isOperator(']')
    parts.push(isPart() ? this.#expression() : undefined)
    let isSlice = false
    while (this.#takeOperator(':')) {
      isSlice = true
      parts.push(isPart() ? this.#expression() : undefined)
    }
    if (this.#isOperator(',')) throw this.#error('an index of several values is not supported')
    this.#operator(']')
    const [start, stop, step] = parts
    if (isSlice && parts.length <= 3) return { kind: 'slice', of, start, stop, step }
    if (isSlice || start === undefined) throw this.#error('an index is missing')
    return { kind: 'item', of, key: start }
  }

  #arguments(): CallArguments {
    const args = noArguments()
    this.#operator('(')
    let isFirst = true
    while (!this.#isOperator(')')) {
      if (!isFirst) {
        this.#operator(',')
        if (this.#isOperator(')')) break
      }
      isFirst = false
      this.#argument(args)
    }
    this.#operator(')')
    return args
  }

  #argument(args: CallArguments): void {
    const next = this.#tokens[this.#place + 1]
    const isNamed = this.#peek()?.kind === 'name' && next?.kind === 'operator' && next.text === '='
    if (this.#takeOperator('**')) args.entries = this.#expression()
    else if (this.#takeOperator('*')) args.items = this.#expression()
    else if (isNamed) {
      const name = this.#name()
      this.#operator('=')
      args.named.push([name, this.#expression()])
    } else {
      if (args.named.length > 0 || args.entries !== undefined) {
        throw this.#error('an argument without a name follows one with a name')
      }
      args.positional.push(this.#expression())
    }
  }

  #filtered(start: Expression): Expression {
    let value = start
    for (;;) {
      if (this.#takeOperator('|')) value = { kind: 'filter', of: value, ...this.#filterCall() }
      else if (this.#takeKeyword('is')) value = this.#test(value)
      else if (this.#isOperator('(')) value = { kind: 'call', of: value, args: this.#arguments() }
      else return value
    }
  }

  #test(of: Expression): Expression {
    const isNegated = this.#takeKeyword('not')
    const name = this.#dottedName()
    if (!this.#known.tests.has(name)) throw this.#error(`the test "${name}" is not supported`)
    return { kind: 'test', of, name, args: this.#testArguments(), isNegated }
  }

  #testArguments(): CallArguments {
    if (this.#isOperator('(')) return this.#arguments()
    const token = this.#peek()
    const args = noArguments()
    const isWord = token?.kind === 'name' && !['else', 'or', 'and'].includes(token.text)
    const isValue = token !== undefined && ['string', 'integer', 'float'].includes(token.kind)
    if (isWord || isValue || this.#isOperator('[') || this.#isOperator('{')) {
      if (token?.text === 'is' && token.kind === 'name')
        throw this.#error('tests cannot be chained with "is"')
      args.positional.push(this.#postfix(this.#primary()))
    }
    return args
  }

  #dottedName(): string {
    let name = this.#name()
    while (this.#takeOperator('.')) name += `.${this.#name()}`
    return name
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#place]
  }

  #next(): Token {
    const token = this.#tokens[this.#place]
    if (token === undefined) throw this.#error('the template ends inside a tag')
    this.#place += 1
    return token
  }

  #name(): string {
    const token = this.#next()
    if (token.kind !== 'name') throw this.#error(`a name should be where "${token.text}" is`)
    return token.text
  }

  #isKeyword(name: string): boolean {
    const token = this.#peek()
    return token?.kind === 'name' && token.text === name
  }

  #takeKeyword(name: string): boolean {
    if (!this.#isKeyword(name)) return false
    this.#place += 1
    return true
  }

  #keyword(name: string): void {
    if (!this.#takeKeyword(name)) throw this.#error(`"${name}" should be where "${this.#peek()?.text}" is`)
  }

  #isOperator(text: string): boolean {
    const token = this.#peek()
    return token?.kind === 'operator' && token.text === text
  }

  #takeOperator(text: string): boolean {
    if (!this.#isOperator(text)) return false
    this.#place += 1
    return true
  }

  #operator(text: string): void {
    if (!this.#takeOperator(text)) throw this.#error(`"${text}" should be where "${this.#peek()?.text}" is`)
  }

  #endTag(kind: 'block' | 'variable'): void {
    const token = this.#next()
    if (token.kind !== 'end' || token.text !== kind) {
      throw this.#error(`the tag should end where "${token.text}" is`)
    }
  }

  #error(what: string): TemplateError {
    const line = this.#tokens[Math.min(this.#place, this.#tokens.length) - 1]?.line ?? 1
    return new TemplateError(`line ${line}: ${what}`)
  }
}

function noArguments(): CallArguments {
  return { positional: [], named: [], items: undefined, entries: undefined }
}
