import type { Expression } from './reading/ast.ts'
import { PyFloat, type Value } from './values/values.ts'

/** The value of a constant in a template's tree. */
export function constant(value: string | boolean | null | { int: number } | { float: number }): Value {
  if (value === null || typeof value !== 'object') return value
  return 'int' in value ? value.int : new PyFloat(value.float)
}

/** Whether an expression has the same value in every rendering. */
export function isConstant(expression: Expression): boolean {
  if (expression.kind === 'list' || expression.kind === 'tuple') return expression.items.every(isConstant)
  if (expression.kind === 'dict') return expression.entries.flat().every(isConstant)
  return expression.kind === 'unary' ? isConstant(expression.of) : expression.kind === 'constant'
}
