/** The common prefix of all texts, at most `unitsMax` UTF-16 units; never splits a character. */
export function commonPrefix(texts: readonly string[], unitsMax: number): string {
  const [first = '', ...others] = texts
  let length = Math.min(first.length, unitsMax)
  for (const other of others) {
    let same = 0
    while (same < length && first.charCodeAt(same) === other.charCodeAt(same)) same += 1
    length = same
  }
  const last = first.charCodeAt(length - 1)
  return first.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length)
}
