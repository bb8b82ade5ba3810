// A template as a tree.

export type Expression =
  | { kind: 'constant'; value: string | boolean | null | { int: number } | { float: number } }
  | { kind: 'name'; name: string }
  | { kind: 'list' | 'tuple'; items: Expression[] }
  | { kind: 'dict'; entries: [Expression, Expression][] }
  | { kind: 'attribute'; of: Expression; name: string }
  | { kind: 'item'; of: Expression; key: Expression }
  | {
      kind: 'slice'
      of: Expression
      start: Expression | undefined
      stop: Expression | undefined
      step: Expression | undefined
    }
  | { kind: 'call'; of: Expression; args: CallArguments }
  | { kind: 'filter'; of: Expression; name: string; args: CallArguments }
  | { kind: 'test'; of: Expression; name: string; args: CallArguments; isNegated: boolean }
  | { kind: 'unary'; operator: 'not' | '-' | '+'; of: Expression }
  | { kind: 'binary'; operator: BinaryOperator; left: Expression; right: Expression }
  | { kind: 'logic'; operator: 'and' | 'or'; left: Expression; right: Expression }
  | { kind: 'compare'; first: Expression; rest: [CompareOperator, Expression][] }
  | { kind: 'conditional'; test: Expression; value: Expression; otherwise: Expression | undefined }

export type BinaryOperator = '+' | '-' | '*' | '/' | '//' | '%' | '**' | '~'
export type CompareOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in'

export interface CallArguments {
  positional: Expression[]
  named: [string, Expression][]
  /** `*items` and `**entries`. */
  items: Expression | undefined
  entries: Expression | undefined
}

/** Where a value goes: a name, several of them, or an attribute of a namespace. */
export type Target =
  | { kind: 'name'; name: string }
  | { kind: 'attribute'; of: string; name: string }
  | { kind: 'tuple'; items: Target[] }

export interface Parameter {
  name: string
  fallback: Expression | undefined
}

export type Statement =
  | { kind: 'data'; text: string }
  | { kind: 'print'; value: Expression }
  | { kind: 'if'; branches: { test: Expression; body: Statement[] }[]; otherwise: Statement[] }
  | {
      kind: 'for'
      target: Target
      items: Expression
      filter: Expression | undefined
      isRecursive: boolean
      body: Statement[]
      otherwise: Statement[]
    }
  | { kind: 'set'; target: Target; value: Expression }
  | { kind: 'set-block'; target: Target; filters: FilterCall[]; body: Statement[] }
  | { kind: 'macro'; macro: MacroDefinition }
  | { kind: 'call-block'; call: Expression; caller: MacroDefinition }
  | { kind: 'filter-block'; filters: FilterCall[]; body: Statement[] }
  | { kind: 'with'; values: [Target, Expression][]; body: Statement[] }
  /** `{% generation %}`: only training looks at it. */
  | { kind: 'scope'; body: Statement[] }
  | { kind: 'break' | 'continue' }

export interface FilterCall {
  name: string
  args: CallArguments
}

export interface MacroDefinition {
  name: string
  parameters: Parameter[]
  body: Statement[]
  /** Which of `varargs`, `kwargs` and `caller` the body names: others than these are refused in a call. */
  extras: ReadonlySet<string>
}
