// Renders a template's tree.
import type {
  CallArguments,
  Expression,
  FilterCall,
  MacroDefinition,
  Statement,
  Target,
} from './reading/ast.ts'
import { constant, isConstant } from './constants.ts'
import { FILTERS, groupAttribute, type FilterEnvironment } from './filters.ts'
import { Fuel } from './fuel.ts'
import { makeLoop, type LoopState } from './loop.ts'
import { attributeOf, dictKey, itemOf, sliceOf } from './members.ts'
import { holds, negate, operate } from './operators.ts'
import { Scope } from './scope.ts'
import { TESTS } from './tests.ts'
import {
  checkDefined,
  checkKey,
  isTrue,
  iterate,
  lengthOf,
  print,
  PyFunction,
  PyIterator,
  PyObject,
  PyTuple,
  PyView,
  TemplateError,
  typeName,
  Undefined,
  type Arguments,
  type Value,
} from './values/values.ts'

type Signal = 'break' | 'continue' | undefined

export function renderTree(tree: readonly Statement[], variables: Map<string, Value>): string {
  return new Rendering(variables).run(tree)
}

class Rendering implements FilterEnvironment {
  readonly fuel = new Fuel()
  readonly #globals: Scope
  #output: string[] = []

  constructor(variables: Map<string, Value>) {
    this.#globals = new Scope(undefined, variables)
  }

  run(tree: readonly Statement[]): string {
    this.#body(tree, new Scope(this.#globals))
    return this.#output.join('')
  }

  filter(name: string, value: Value, args: Arguments): Value {
    const filter = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined
    if (filter === undefined) throw new TemplateError(`the filter "${name}" is not supported`)
    return filter(value, args, this)
  }

  test(name: string, value: Value, args: Arguments): boolean {
    const test = Object.hasOwn(TESTS, name) ? TESTS[name] : undefined
    if (test === undefined) throw new TemplateError(`the test "${name}" is not supported`)
    return test(value, ...args.positional)
  }

  #write(text: string): void {
    if (text === '') return
    this.fuel.spend(text.length)
    this.#output.push(text)
  }

  #body(statements: readonly Statement[], scope: Scope): Signal {
    for (const statement of statements) {
      this.fuel.step()
      const signal = this.#statement(statement, scope)
      if (signal !== undefined) return signal
    }
    return undefined
  }

  // oxlint-disable-next-line typescript/consistent-return -- the switch is exhaustive
  #statement(statement: Statement, scope: Scope): Signal {
    switch (statement.kind) {
      case 'data':
        this.#write(statement.text)
        return undefined
      case 'print':
        this.#write(this.#printed(statement.value, scope))
        return undefined
      case 'if':
        return this.#if(statement, scope)
      case 'for':
        this.#loop(statement, this.#value(statement.items, scope), scope, 0)
        return undefined
      case 'set':
        this.#assign(statement.target, this.#value(statement.value, scope), scope)
        return undefined
      case 'set-block':
        this.#assign(statement.target, this.#captured(statement, scope), scope)
        return undefined
      case 'macro':
        scope.names.set(statement.macro.name, this.#macro(statement.macro, scope))
        return undefined
      case 'call-block':
        this.#callBlock(statement, scope)
        return undefined
      case 'filter-block':
        this.#write(print(this.#captured(statement, scope)))
        return undefined
      case 'with':
        return this.#with(statement, scope)
      case 'scope':
        return this.#body(statement.body, new Scope(scope))
      case 'break':
      case 'continue':
        return statement.kind
    }
  }

  #printed(expression: Expression, scope: Scope): string {
    return print(this.#value(expression, scope))
  }

  #if({ branches, otherwise }: Statement & { kind: 'if' }, scope: Scope): Signal {
    for (const { test, body } of branches) {
      if (isTrue(this.#value(test, scope))) return this.#body(body, scope)
    }
    return this.#body(otherwise, scope)
  }

  #with({ values, body }: Statement & { kind: 'with' }, scope: Scope): Signal {
    const inner = new Scope(scope)
    // Each value is one of the outer scope.
    for (const [target, value] of values) this.#assign(target, this.#value(value, scope), inner)
    return this.#body(body, inner)
  }

  #loop(statement: Statement & { kind: 'for' }, value: Value, scope: Scope, depth: number): void {
    checkIterable(value)
    const items: Value[] = []
    for (const item of iterate(value)) {
      this.fuel.step()
      if (statement.filter !== undefined) {
        const inner = new Scope(scope)
        this.#assign(statement.target, item, inner)
        if (!isTrue(this.#value(statement.filter, inner))) continue
      }
      items.push(item)
    }
    const state: LoopState = { items, index: 0, depth, changed: undefined }
    const recurse = statement.isRecursive
      ? (inner: Value): Value => this.#capture(() => this.#loop(statement, inner, scope, depth + 1))
      : undefined
    const loop = makeLoop(state, recurse)
    for (const [index, item] of items.entries()) {
      this.fuel.step()
      state.index = index
      const inner = new Scope(scope, new Map([['loop', loop]]))
      this.#assign(statement.target, item, inner)
      if (this.#body(statement.body, inner) === 'break') break
    }
    if (items.length === 0) this.#body(statement.otherwise, new Scope(scope))
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    if (target.kind === 'name') {
      scope.names.set(target.name, value)
    } else if (target.kind === 'attribute') {
      const object = scope.get(target.of)
      if (!(object instanceof PyObject) || object.kind !== 'namespace') {
        throw new TemplateError(`"${target.of}" is no namespace, so its attributes cannot be set`)
      }
      object.attributes.set(target.name, value)
    } else {
      const items = [...iterate(value)]
      if (value instanceof Undefined || items.length !== target.items.length) {
        throw new TemplateError(`${items.length} values cannot be unpacked into ${target.items.length} names`)
      }
      for (const [index, inner] of target.items.entries()) this.#assign(inner, items[index] as Value, scope)
    }
  }

  /** Returns as text the output that `write` produces. */
  #capture(write: () => void): string {
    const outer = this.#output
    this.#output = []
    try {
      write()
      return this.#output.join('')
    } finally {
      this.#output = outer
    }
  }

  #captured({ filters, body }: { filters: FilterCall[]; body: Statement[] }, scope: Scope): Value {
    const inner = new Scope(scope)
    const text = this.#capture(() => this.#body(body, inner))
    return filters.reduce<Value>(
      (value, { name, args }) => this.filter(name, value, this.#arguments(args, inner)),
      text,
    )
  }

  #macro(macro: MacroDefinition, scope: Scope): PyObject {
    const call = (args: Arguments): Value => {
      this.fuel.step()
      const inner = new Scope(scope)
      this.#bindMacro(macro, args, inner)
      return this.#capture(() => this.#body(macro.body, inner))
    }
    const names = macro.parameters.map(({ name }) => name)
    const attributes = new Map<string, Value>([
      ['name', macro.name],
      ['arguments', new PyTuple(names)],
      ['catch_kwargs', macro.extras.has('kwargs')],
      ['catch_varargs', macro.extras.has('varargs')],
      ['caller', macro.extras.has('caller')],
    ])
    return new PyObject('macro', attributes, { call })
  }

  #bindMacro({ name, parameters, extras }: MacroDefinition, args: Arguments, scope: Scope): void {
    const named = new Map(args.named)
    for (const [index, parameter] of parameters.entries()) {
      const value =
        args.positional[index] ?? (args.positional[index] === null ? null : named.get(parameter.name))
      if (args.positional[index] !== undefined && named.has(parameter.name)) {
        throw new TemplateError(`the macro "${name}" has two values for "${parameter.name}"`)
      }
      named.delete(parameter.name)
      const fallback = (): Value =>
        parameter.fallback === undefined
          ? new Undefined(`"${parameter.name}"`)
          : this.#value(parameter.fallback, scope)
      scope.names.set(parameter.name, value === undefined ? fallback() : value)
    }
    const rest = args.positional.slice(parameters.length)
    if (rest.length > 0 && !extras.has('varargs')) {
      throw new TemplateError(`the macro "${name}" takes at most ${parameters.length} arguments`)
    }
    if (extras.has('caller')) {
      scope.names.set('caller', named.get('caller') ?? new Undefined('"caller"'))
      named.delete('caller')
    }
    const [unknown] = named.keys()
    if (unknown !== undefined && !extras.has('kwargs')) {
      throw new TemplateError(`the macro "${name}" takes no argument "${unknown}"`)
    }
    if (extras.has('varargs')) scope.names.set('varargs', new PyTuple(rest))
    if (extras.has('kwargs')) scope.names.set('kwargs', new Map<Value, Value>(named))
  }

  #callBlock({ call, caller }: Statement & { kind: 'call-block' }, scope: Scope): void {
    if (call.kind !== 'call') throw new TemplateError('a call block has no call')
    const args = this.#arguments(call.args, scope)
    args.named.set('caller', this.#macro(caller, scope))
    this.#write(print(this.#invoke(this.#value(call.of, scope), args)))
  }

  // oxlint-disable-next-line typescript/consistent-return -- the switch is exhaustive
  #value(expression: Expression, scope: Scope): Value {
    this.fuel.step()
    switch (expression.kind) {
      case 'constant':
        return constant(expression.value)
      case 'name':
        return scope.get(expression.name)
      case 'list':
        return expression.items.map((item) => this.#value(item, scope))
      case 'tuple':
        return new PyTuple(expression.items.map((item) => this.#value(item, scope)))
      case 'dict':
        return this.#dict(expression.entries, scope)
      case 'attribute': {
        const value = this.#value(expression.of, scope)
        return groupAttribute(value, expression.name) ?? attributeOf(value, expression.name, this.fuel)
      }
      case 'item':
        return itemOf(this.#value(expression.of, scope), this.#value(expression.key, scope), this.fuel)
      case 'slice':
        return this.#slice(expression, scope)
      case 'call':
        return this.#invoke(this.#value(expression.of, scope), this.#arguments(expression.args, scope))
      case 'filter':
        return this.filter(
          expression.name,
          this.#value(expression.of, scope),
          this.#arguments(expression.args, scope),
        )
      case 'test':
        return this.#test(expression, scope)
      case 'unary':
        return this.#unary(expression, scope)
      case 'binary':
        return operate(
          expression.operator,
          this.#value(expression.left, scope),
          this.#value(expression.right, scope),
          this.fuel,
        )
      case 'logic':
        return this.#logic(expression, scope)
      case 'compare':
        return this.#compare(expression, scope)
      case 'conditional':
        return this.#conditional(expression, scope)
    }
  }

  #dict(entries: readonly [Expression, Expression][], scope: Scope): Value {
    const dict = new Map<Value, Value>()
    for (const [key, value] of entries) {
      const name = checkKey(this.#value(key, scope))
      dict.set(dictKey(dict, name), this.#value(value, scope))
    }
    return dict
  }

  #slice({ of, start, stop, step }: Expression & { kind: 'slice' }, scope: Scope): Value {
    const bounds = [start, stop, step].map((bound) =>
      bound === undefined ? null : this.#value(bound, scope),
    )
    const value = this.#value(of, scope)
    // Jinja2 computes what is constant beforehand, with undefined where Python has an error.
    if (isConstant(of) && lengthOf(value) === undefined) return new Undefined('a slice')
    if (isConstant(of) && value instanceof Map) return new Undefined('a slice')
    return sliceOf(value, bounds, this.fuel)
  }

  #test({ of, name, args, isNegated }: Expression & { kind: 'test' }, scope: Scope): Value {
    const value = this.#value(of, scope)
    const given = this.#arguments(args, scope)
    if (name === 'filter' || name === 'test') {
      if (Array.isArray(value) || value instanceof Map || value instanceof PyView)
        throw new TemplateError(`"${name}" takes a name`)
      return Object.hasOwn(name === 'filter' ? FILTERS : TESTS, print(value)) !== isNegated
    }
    return this.test(name, value, given) !== isNegated
  }

  #unary({ operator, of }: Expression & { kind: 'unary' }, scope: Scope): Value {
    const value = this.#value(of, scope)
    return operator === 'not' ? !isTrue(value) : negate(value, operator)
  }

  #logic({ operator, left, right }: Expression & { kind: 'logic' }, scope: Scope): Value {
    const value = this.#value(left, scope)
    return isTrue(value) === (operator === 'and') ? this.#value(right, scope) : value
  }

  /** Python's chain: `a < b < c` is `a < b and b < c`. */
  #compare({ first, rest }: Expression & { kind: 'compare' }, scope: Scope): Value {
    let left = this.#value(first, scope)
    for (const [operator, expression] of rest) {
      const right = this.#value(expression, scope)
      if (!holds(operator, left, right)) return false
      left = right
    }
    return true
  }

  #conditional({ test, value, otherwise }: Expression & { kind: 'conditional' }, scope: Scope): Value {
    if (isTrue(this.#value(test, scope))) return this.#value(value, scope)
    return otherwise === undefined
      ? new Undefined('the value of an "if" without "else"')
      : this.#value(otherwise, scope)
  }

  #arguments({ positional, named, items, entries }: CallArguments, scope: Scope): Arguments {
    const args: Arguments = {
      positional: positional.map((item) => this.#value(item, scope)),
      named: new Map(named.map(([name, item]) => [name, this.#value(item, scope)])),
    }
    if (items !== undefined) {
      for (const item of iterate(this.#value(items, scope))) args.positional.push(item)
    }
    if (entries !== undefined) {
      const dict = this.#value(entries, scope)
      if (!(dict instanceof Map)) throw new TemplateError('"**" takes a dict')
      for (const [name, item] of dict) args.named.set(print(name), item)
    }
    return args
  }

  #invoke(callee: Value, args: Arguments): Value {
    checkDefined(callee)
    const call = callee instanceof PyFunction || callee instanceof PyObject ? callee.call : undefined
    if (call === undefined) throw new TemplateError(`a ${typeName(callee)} cannot be called`)
    return call(args)
  }
}

function checkIterable(value: Value): void {
  // A generator's error would otherwise come where its first item is asked for, which is here, too.
  if (value instanceof PyIterator) return
  iterate(value).next()
}
