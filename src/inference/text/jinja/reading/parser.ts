// Reads a template into a tree, by the grammar of Jinja2 3.1. Statements that we do not render are refused here.
import type { Expression, MacroDefinition, Parameter, Statement, Target } from './ast.ts'
import { CONSTANTS, ExpressionParser, type KnownNames } from './expression-parser.ts'
import { tokenize } from './lexer.ts'

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

/** Statements; expressions are read by the class below it. */
class Parser extends ExpressionParser {
  #loopDepth = 0

  run(): Statement[] {
    const { body } = this.#statements([])
    if (this.safeCount > 0) throw this.error('the filter "safe" is supported only last in what is printed')
    return body
  }

  /** Statements up to a tag of one of these names; that name is taken, the rest of the tag is not. */
  #statements(ends: readonly string[]): { body: Statement[]; end: string } {
    const body: Statement[] = []
    for (;;) {
      const token = this.tokens[this.place]
      if (token === undefined) {
        if (ends.length === 0) return { body, end: '' }
        throw this.error(`the template ends where ${ends.join(' or ')} should be`)
      }
      this.place += 1
      if (token.kind === 'data') body.push({ kind: 'data', text: token.text })
      else if (token.text === 'variable') body.push(this.#printed())
      else {
        const name = this.name()
        if (ends.includes(name)) return { body, end: name }
        const statement = this.#statement(name)
        if (statement !== undefined) body.push(statement)
      }
    }
  }

  #printed(): Statement {
    const value = this.tuple({})
    this.endTag('variable')
    if (value.kind !== 'filter' || value.name !== 'safe') return { kind: 'print', value }
    this.safeCount -= 1
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
        this.endTag('block')
        return { kind: 'scope', body: this.#bodyUntil('endgeneration') }
      }
      case 'break':
      case 'continue':
        if (this.#loopDepth === 0) throw this.error(`${name} is outside of a loop`)
        this.endTag('block')
        return { kind: name }
      default:
        throw this.error(
          REFUSED.has(name) ? `the statement "${name}" is not supported` : `unknown statement "${name}"`,
        )
    }
  }

  #bodyUntil(end: string): Statement[] {
    const { body } = this.#statements([end])
    this.endTag('block')
    return body
  }

  #if(): Statement {
    const branches: { test: Expression; body: Statement[] }[] = []
    for (;;) {
      const test = this.tuple({ hasConditional: false })
      this.endTag('block')
      const { body, end } = this.#statements(['elif', 'else', 'endif'])
      branches.push({ test, body })
      if (end === 'elif') continue
      this.endTag('block')
      return { kind: 'if', branches, otherwise: end === 'else' ? this.#bodyUntil('endif') : [] }
    }
  }

  #for(): Statement {
    const target = this.#target({ ends: ['in'] })
    this.keyword('in')
    const items = this.tuple({ hasConditional: false, ends: ['recursive'] })
    const filter = this.takeKeyword('if') ? this.expression() : undefined
    const isRecursive = this.takeKeyword('recursive')
    this.endTag('block')
    this.#loopDepth += 1
    const { body, end } = this.#statements(['else', 'endfor'])
    this.#loopDepth -= 1
    this.endTag('block')
    const otherwise = end === 'else' ? this.#bodyUntil('endfor') : []
    return { kind: 'for', target, items, filter, isRecursive, body, otherwise }
  }

  #set(): Statement {
    const target = this.#target({ allowsAttribute: true })
    if (this.takeOperator('=')) {
      const value = this.tuple({})
      this.endTag('block')
      return { kind: 'set', target, value }
    }
    const filters = this.filterChain()
    this.endTag('block')
    return { kind: 'set-block', target, filters, body: this.#bodyUntil('endset') }
  }

  #filterBlock(): Statement {
    const filters = [this.filterCall(), ...this.filterChain()]
    this.endTag('block')
    return { kind: 'filter-block', filters, body: this.#bodyUntil('endfilter') }
  }

  #macro(): Statement {
    const name = this.name()
    const macro = this.#definition(name, this.#parameters(), 'endmacro')
    return { kind: 'macro', macro }
  }

  #callBlock(): Statement {
    const parameters = this.isOperator('(') ? this.#parameters() : []
    const call = this.expression()
    if (call.kind !== 'call') throw this.error('a call block has no call')
    return { kind: 'call-block', call, caller: this.#definition('caller', parameters, 'endcall') }
  }

  #definition(name: string, parameters: Parameter[], end: string): MacroDefinition {
    this.endTag('block')
    this.macroNames.push(new Set())
    const depth = this.#loopDepth
    this.#loopDepth = 0
    const body = this.#bodyUntil(end)
    this.#loopDepth = depth
    const names = this.macroNames.pop() ?? new Set<string>()
    const extras = new Set(['varargs', 'kwargs', 'caller'].filter((extra) => names.has(extra)))
    return { name, parameters, body, extras }
  }

  #parameters(): Parameter[] {
    this.operator('(')
    const parameters: Parameter[] = []
    while (!this.isOperator(')')) {
      if (parameters.length > 0) this.operator(',')
      const name = this.name()
      const fallback = this.takeOperator('=') ? this.expression() : undefined
      if (fallback === undefined && parameters.some((other) => other.fallback !== undefined)) {
        throw this.error('a parameter without a default follows one with a default')
      }
      parameters.push({ name, fallback })
    }
    this.operator(')')
    return parameters
  }

  #with(): Statement {
    const values: [Target, Expression][] = []
    while (this.peek()?.kind !== 'end') {
      if (values.length > 0) this.operator(',')
      const target = this.#target({})
      this.operator('=')
      values.push([target, this.expression()])
    }
    this.endTag('block')
    return { kind: 'with', values, body: this.#bodyUntil('endwith') }
  }

  #target(options: { ends?: readonly string[]; allowsAttribute?: boolean }): Target {
    const items = [this.#oneTarget(options)]
    let isTuple = false
    while (this.takeOperator(',')) {
      isTuple = true
      const next = this.peek()
      if (next?.kind !== 'name' && !this.isOperator('(')) break
      if (options.ends?.includes(next?.text ?? '') === true) break
      items.push(this.#oneTarget(options))
    }
    return isTuple ? { kind: 'tuple', items } : (items[0] as Target)
  }

  #oneTarget(options: { allowsAttribute?: boolean }): Target {
    if (this.takeOperator('(')) {
      const inner = this.#target({})
      this.operator(')')
      return inner
    }
    const name = this.name()
    if (name in CONSTANTS) throw this.error(`cannot assign to ${name}`)
    if (options.allowsAttribute === true && this.takeOperator('.')) {
      return { kind: 'attribute', of: name, name: this.name() }
    }
    return { kind: 'name', name }
  }
}
