// Reads the arguments of a call by Python's rules.
import { numberOf, PyFloat, TemplateError, typeName, type Arguments, type Value } from './values/values.ts'

/** The arguments in the order of `names`; undefined for those that are not given. */
export function bind(
  what: string,
  args: Arguments,
  names: readonly string[],
  required = 0,
): (Value | undefined)[] {
  if (args.positional.length > names.length) {
    throw new TemplateError(`${what} takes at most ${names.length} arguments, not ${args.positional.length}`)
  }
  const bound: (Value | undefined)[] = names.map((_name, index) => args.positional[index])
  for (const [name, value] of args.named) {
    const index = names.indexOf(name)
    if (index === -1 || bound[index] !== undefined) {
      throw new TemplateError(`${what} has an argument "${name}" that it does not take, or takes once`)
    }
    bound[index] = value
  }
  const missing = bound.findIndex((value, index) => index < required && value === undefined)
  if (missing !== -1) throw new TemplateError(`${what} lacks its argument "${names[missing]}"`)
  return bound
}

export function text(what: string, value: Value | undefined): string {
  if (typeof value === 'string') return value
  throw new TemplateError(`${what} takes text, not ${value === undefined ? 'nothing' : typeName(value)}`)
}

export function int(what: string, value: Value | undefined): number {
  const number = value instanceof PyFloat ? undefined : numberOf(value ?? null)
  if (number === undefined) throw new TemplateError(`${what} takes an integer`)
  return number
}
