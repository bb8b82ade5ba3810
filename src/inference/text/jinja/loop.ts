// The variable `loop` of a for statement.
import {
  isEqual,
  PyFunction,
  PyObject,
  PyTuple,
  TemplateError,
  Undefined,
  type Arguments,
  type Value,
} from './values/values.ts'

export interface LoopState {
  items: readonly Value[]
  index: number
  depth: number
  /** The last argument of `changed`. */
  changed: Value | undefined
}

/** @param recurse renders the loop over other items; undefined for a loop that is not recursive */
export function makeLoop(state: LoopState, recurse: ((items: Value) => Value) | undefined): PyObject {
  const functions = new Map<string, Value>([
    ['cycle', new PyFunction('cycle', ({ positional }) => cycle(state, positional))],
    ['changed', new PyFunction('changed', ({ positional }) => changed(state, positional))],
  ])
  const call = ({ positional: [items] }: Arguments): Value => {
    if (recurse === undefined) throw new TemplateError('the loop is not recursive, so it cannot be called')
    if (items === undefined) throw new TemplateError('a call of the loop lacks its items')
    return recurse(items)
  }
  return new PyObject('loop', functions, {
    attribute: (name) => functions.get(name) ?? attribute(state, name),
    call,
  })
}

function attribute({ items, index, depth }: LoopState, name: string): Value | undefined {
  switch (name) {
    case 'index':
      return index + 1
    case 'index0':
      return index
    case 'revindex':
      return items.length - index
    case 'revindex0':
      return items.length - index - 1
    case 'first':
      return index === 0
    case 'last':
      return index === items.length - 1
    case 'length':
      return items.length
    case 'depth':
      return depth + 1
    case 'depth0':
      return depth
    case 'previtem':
      return items[index - 1] ?? (index === 0 ? new Undefined('the item before the first') : null)
    case 'nextitem':
      return index === items.length - 1
        ? new Undefined('the item after the last')
        : (items[index + 1] ?? null)
    default:
      return undefined
  }
}

function cycle({ index }: LoopState, values: readonly Value[]): Value {
  const value = values[index % values.length]
  if (value === undefined) throw new TemplateError('cycle takes at least one value')
  return value
}

function changed(state: LoopState, values: readonly Value[]): boolean {
  const value = new PyTuple(values)
  if (state.changed !== undefined && isEqual(state.changed, value)) return false
  state.changed = value
  return true
}
