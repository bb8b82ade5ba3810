const QUOTE = 0x22
const BACKSLASH = 0x5c

/** How deep brackets nest outside of strings; found before parsing, so that depth cannot exhaust the stack. */
export function nesting(text: string): number {
  let depth = 0
  let deepest = 0
  for (let index = 0; index < text.length; index += 1) {
    const char = text.charCodeAt(index)
    if (char === QUOTE) index = endOfString(text, index)
    else if (char === 0x7b || char === 0x5b) deepest = Math.max(deepest, (depth += 1))
    else if (char === 0x7d || char === 0x5d) depth -= 1
  }
  return deepest
}

/** The place of the quote that ends a string. Most of a body is text, and `indexOf` passes it quickly. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let escape = end - 1
    while (text.charCodeAt(escape) === BACKSLASH) escape -= 1
    if ((end - escape) % 2 === 1) return end
  }
  return text.length
}
