// SentencePiece's compiled table of characters: a double array of byte strings, and the texts they become.

/** @param base64 of the table, as tokenizer.json has it */
export function readCharsmap(base64: string): (text: string) => string {
  const bytes = Buffer.from(base64, 'base64')
  const trieBytes = bytes.readUInt32LE(0)
  if (trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length) throw new Error('precompiled_charsmap is damaged')
  const units = Uint32Array.from({ length: trieBytes / 4 }, (_, index) => bytes.readUInt32LE(4 + index * 4))
  const texts = bytes.subarray(4 + trieBytes)
  const lookup = (part: string): string | undefined => {
    const place = shortestMatch(units, Buffer.from(part))
    if (place === undefined) return undefined
    const end = texts.indexOf(0, place)
    return texts.toString('utf8', place, end === -1 ? texts.length : end)
  }
  const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })
  return (text) => {
    let result = ''
    for (const { segment } of graphemes.segment(text)) {
      const whole = Buffer.byteLength(segment) < 6 ? lookup(segment) : undefined
      result += whole ?? Array.from(segment, (character) => lookup(character) ?? character).join('')
    }
    return result
  }
}

/** The value of the shortest key that `key` begins with, by the layout of Darts-clone. */
function shortestMatch(units: Uint32Array, key: Uint8Array): number | undefined {
  let node = 0
  let unit = units[0] ?? 0
  node ^= offsetOf(unit)
  for (const byte of key) {
    if (byte === 0) return undefined
    node ^= byte
    unit = units[node] ?? 0
    if ((unit & 0x8000_00ff) >>> 0 !== byte) return undefined
    node ^= offsetOf(unit)
    if (((unit >>> 8) & 1) === 1) return (units[node] ?? 0) & 0x7fff_ffff
  }
  return undefined
}

function offsetOf(unit: number): number {
  return ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0
}
