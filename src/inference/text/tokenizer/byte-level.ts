// GPT-2's alphabet: each byte as one printable character.

const CHARACTERS: readonly string[] = (() => {
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    return String.fromCharCode(isPrintable ? byte : next++)
  })
})()

const BYTES: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]))

export function bytesToText(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += CHARACTERS[byte]
  return text
}

/** Characters whose byte is shown as themselves, and spaces. */
const PLAIN = /^[ -~]*$/
const SPACE = CHARACTERS[32] ?? ''

/** As bytesToText of a text's UTF-8. */
export function textToLevel(text: string): string {
  return PLAIN.test(text) ? text.replaceAll(' ', SPACE) : bytesToText(Buffer.from(text))
}

/** The bytes of a token; undefined when it is not of the alphabet. */
export function textToBytes(token: string): Uint8Array | undefined {
  const bytes: number[] = []
  for (const character of token) {
    const byte = BYTES.get(character)
    if (byte === undefined) return undefined
    bytes.push(byte)
  }
  return Uint8Array.from(bytes)
}

/** The byte that a token as `<0x0A>` stands for. */
export function fallbackByte(token: string): number | undefined {
  return /^<0x[\da-fA-F]{2}>$/.test(token) ? parseInt(token.slice(3, 5), 16) : undefined
}

export function fallbackToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
}
