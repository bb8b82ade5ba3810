// A chat template: Jinja2 as transformers sets it up (trim_blocks, lstrip_blocks, loop controls, a sandbox
// without changes to values, `tojson` that keeps characters). docs/decisions has why it is our own.
import type { Statement } from './reading/ast.ts'
import { FILTERS } from './filters.ts'
import { makeGlobals } from './globals.ts'
import { renderTree } from './interpreter.ts'
import type { KnownNames } from './reading/expression-parser.ts'
import { parseTemplate } from './reading/parser.ts'
import { TESTS } from './tests.ts'
import { MISSING_METHODS } from './text-methods.ts'
import { fromJson } from './values/values.ts'

const KNOWN: KnownNames = {
  filters: new Set(Object.keys(FILTERS)),
  tests: new Set([...Object.keys(TESTS), 'filter', 'test']),
  missingMethods: MISSING_METHODS,
}

export class Template {
  readonly #tree: readonly Statement[]
  readonly #wallMs: () => number

  /**
   * Throws `TemplateError` for a template that is wrong or that has parts which are not supported.
   * @param wallMs Unix time, which `strftime_now` prints
   */
  constructor(source: string, wallMs: () => number) {
    this.#tree = parseTemplate(source, KNOWN)
    this.#wallMs = wallMs
  }

  /**
   * Renders JSON values. Throws `TemplateError` for what the template refuses, and for one that takes too
   * many steps or too much room.
   */
  render(variables: Readonly<Record<string, unknown>>): string {
    const names = makeGlobals(this.#wallMs)
    for (const [name, value] of Object.entries(variables)) {
      if (value !== undefined) names.set(name, fromJson(value))
    }
    return renderTree(this.#tree, names)
  }
}
