import { randomBytes } from 'node:crypto'
import { defaultCrypto } from '@libp2p/noise/crypto'
import { Uint8ArrayList } from 'uint8arraylist'
import { describe, expect, it } from 'vitest'
import { noiseCrypto } from '../../../src/node/libp2p/noise-crypto.ts'

const KEY = randomBytes(32)
const NONCE = randomBytes(12)
const AD = new Uint8Array(0)
const LENGTHS = [0, 1, 1_199, 1_200, 65_519]

/** The same bytes in one piece, and in three. */
function forms(bytes: Uint8Array): (Uint8Array | Uint8ArrayList)[] {
  const third = Math.floor(bytes.byteLength / 3)
  const parts = [bytes.subarray(0, third), bytes.subarray(third, 2 * third), bytes.subarray(2 * third)]
  return [bytes, new Uint8ArrayList(...parts)]
}

describe('the cryptography of noise', () => {
  it.each(LENGTHS)('makes of %i bytes what that of libp2p makes, and reads it', (length) => {
    const plain = randomBytes(length)
    const expected = defaultCrypto.chaCha20Poly1305Encrypt(plain, NONCE, AD, KEY).subarray()
    for (const form of forms(plain)) {
      const sealed = noiseCrypto.chaCha20Poly1305Encrypt(form, NONCE, AD, KEY).subarray()
      expect(Buffer.compare(sealed, expected)).toBe(0)
    }
    for (const form of forms(expected)) {
      const opened = noiseCrypto.chaCha20Poly1305Decrypt(form, NONCE, AD, KEY).subarray()
      expect(Buffer.compare(opened, plain)).toBe(0)
    }
  })

  it.each([100, 5_000])('refuses %i bytes of which one bit is another', (length) => {
    const sealed = Uint8Array.from(
      noiseCrypto.chaCha20Poly1305Encrypt(randomBytes(length), NONCE, AD, KEY).subarray(),
    )
    for (const place of [0, length >> 1, length, length + 15]) {
      const spoiled = sealed.slice()
      spoiled[place]! ^= 1
      for (const form of forms(spoiled)) {
        expect(() => noiseCrypto.chaCha20Poly1305Decrypt(form, NONCE, AD, KEY)).toThrow()
      }
    }
  })
})
