import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { defaultCrypto } from '@libp2p/noise/crypto'
import { Uint8ArrayList } from 'uint8arraylist'

type NoiseCrypto = typeof defaultCrypto
type Bytes = Uint8Array | Uint8ArrayList

const CIPHER = 'chacha20-poly1305'
const TAG_BYTES = 16
/** Below this the WebAssembly that @libp2p/noise brings is faster than a call into OpenSSL. */
const NATIVE_BYTES_MIN = 1_200

/** OpenSSL's key objects, cached: making one for every record would take a tenth of the time. */
const keys = new WeakMap<Uint8Array, KeyObject>()

/** The cryptography of libp2p's noise, bulk records without needless copies and with keys prepared once. */
export const noiseCrypto: NoiseCrypto = {
  ...defaultCrypto,

  chaCha20Poly1305Encrypt(plaintext: Bytes, nonce: Uint8Array, ad: Uint8Array, key: Uint8Array): Bytes {
    if (plaintext.byteLength < NATIVE_BYTES_MIN) {
      return defaultCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key)
    }
    const cipher = createCipheriv(CIPHER, keyOf(key), nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(ad, { plaintextLength: plaintext.byteLength })
    const output = new Uint8ArrayList()
    for (const part of partsOf(plaintext)) output.append(cipher.update(part))
    cipher.final()
    output.append(cipher.getAuthTag())
    return output
  },

  chaCha20Poly1305Decrypt(ciphertext: Bytes, nonce: Uint8Array, ad: Uint8Array, key: Uint8Array): Bytes {
    if (ciphertext.byteLength < NATIVE_BYTES_MIN) {
      return defaultCrypto.chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key)
    }
    const length = ciphertext.byteLength - TAG_BYTES
    const decipher = createDecipheriv(CIPHER, keyOf(key), nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(ad, { plaintextLength: length })
    decipher.setAuthTag(ciphertext.subarray(length))
    const text =
      ciphertext instanceof Uint8Array ? ciphertext.subarray(0, length) : ciphertext.sublist(0, length)
    const output = new Uint8ArrayList()
    for (const part of partsOf(text)) output.append(decipher.update(part))
    // Throws unless every byte is authentic.
    decipher.final()
    return output
  },
}

function keyOf(bytes: Uint8Array): KeyObject {
  const known = keys.get(bytes)
  if (known !== undefined) return known
  const key = createSecretKey(bytes)
  keys.set(bytes, key)
  return key
}

const partsOf = (bytes: Bytes): Iterable<Uint8Array> => (bytes instanceof Uint8Array ? [bytes] : bytes)
