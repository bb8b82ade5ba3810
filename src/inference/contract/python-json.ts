// Reads JSON as Python writes it.

/** A string, or one of Python's numbers that JSON does not have. */
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g
const STANDS_FOR_NAN = '1e9999'

/** As JSON.parse, and with `NaN`, `Infinity` and `-Infinity`, and a byte order mark. Throws SyntaxError. */
export function parsePythonJson(text: string): unknown {
  const json = text.startsWith('\uFEFF') ? text.slice(1) : text
  try {
    return JSON.parse(json)
  } catch (error) {
    const standard = json.replace(STRING_OR_NUMBER, (part) => {
      if (part.startsWith('"')) return part
      return part === 'NaN' ? STANDS_FOR_NAN : part.replace('Infinity', '1e999')
    })
    if (standard === json) throw error
    return parseStandard(standard)
  }
}

function parseStandard(text: string): unknown {
  const revive = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    context?.source === STANDS_FOR_NAN ? Number.NaN : value
  return JSON.parse(text, revive) as unknown
}
