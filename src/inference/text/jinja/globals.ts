// The functions that every template has: Jinja2's, and those that transformers adds.
import { bind, int, text } from './arguments.ts'
import { formatTime } from './time-format.ts'
import {
  iterate,
  print,
  PyFunction,
  PyObject,
  PyRange,
  TemplateError,
  type Arguments,
  type Value,
} from './values/values.ts'

/** Jinja2's sandbox has the same bound. */
const RANGE_MAX = 100_000

export function makeGlobals(wallMs: () => number): Map<string, Value> {
  const functions: Record<string, (args: Arguments) => Value> = {
    range,
    namespace,
    dict: (args) => new Map<Value, Value>(entriesOf(args)),
    joiner,
    cycler,
    raise_exception: (args) => {
      const [message = ''] = bind('raise_exception', args, ['message'])
      throw new TemplateError(print(message))
    },
    strftime_now: (args) => {
      const [format] = bind('strftime_now', args, ['format'], 1)
      return formatTime(text('strftime_now', format), wallMs())
    },
  }
  return new Map(Object.entries(functions).map(([name, call]) => [name, new PyFunction(name, call)]))
}

function range(args: Arguments): Value {
  const [first, second, step = 1] = bind('range', args, ['start', 'stop', 'step'], 1)
  const [start, stop] =
    second === undefined ? [0, int('range', first)] : [int('range', first), int('range', second)]
  if (int('range', step) === 0) throw new TemplateError('range has the step 0')
  const made = new PyRange(start, stop, int('range', step))
  if (made.length > RANGE_MAX) throw new TemplateError(`range is over ${RANGE_MAX} numbers long`)
  return made
}

function* entriesOf({ positional: [source], named }: Arguments): Generator<[string, Value]> {
  if (source instanceof Map) for (const [key, value] of source) yield [print(key), value]
  else if (source !== undefined) {
    for (const pair of iterate(source)) {
      const [key = null, value = null] = iterate(pair)
      yield [print(key), value]
    }
  }
  yield* named
}

function namespace(args: Arguments): Value {
  return new PyObject('namespace', new Map(entriesOf(args)))
}

function joiner(args: Arguments): Value {
  const [separator = ', '] = bind('joiner', args, ['sep'])
  let isUsed = false
  const call = (): Value => {
    if (isUsed) return separator
    isUsed = true
    return ''
  }
  return new PyObject('joiner', new Map(), { call })
}

function cycler({ positional }: Arguments): Value {
  let index = 0
  const current = (): Value => {
    const value = positional[index]
    if (value === undefined) throw new TemplateError('cycler takes at least one value')
    return value
  }
  const next = (): Value => {
    const value = current()
    index = (index + 1) % positional.length
    return value
  }
  const functions: [string, () => Value][] = [
    ['next', next],
    ['reset', () => ((index = 0), null)],
  ]
  const attributes = new Map<string, Value>(
    functions.map(([name, call]) => [name, new PyFunction(name, call)]),
  )
  return new PyObject('cycler', attributes, {
    attribute: (name) => (name === 'current' ? current() : attributes.get(name)),
  })
}
