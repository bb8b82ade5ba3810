import { Undefined, type Value } from './values/values.ts'

/** Names and their values, and where to look for others. */
export class Scope {
  readonly names: Map<string, Value>
  readonly parent: Scope | undefined

  constructor(parent: Scope | undefined, names: Map<string, Value> = new Map()) {
    this.parent = parent
    this.names = names
  }

  get(name: string): Value {
    const value = this.names.get(name)
    if (value !== undefined) return value
    if (this.parent !== undefined) return this.parent.get(name)
    return new Undefined(`"${name}"`)
  }
}
