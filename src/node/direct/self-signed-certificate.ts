import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'

export interface SelfSignedCertificate {
  /** For `node:tls`. */
  certificate: string
  key: string
  /** sha2-256 of the certificate's DER: what pins it. */
  fingerprint: Uint8Array
}

/** ASN.1 tags. */
const INTEGER = 0x02
const BIT_STRING = 0x03
const OBJECT_IDENTIFIER = 0x06
const UTF8_STRING = 0x0c
const GENERALIZED_TIME = 0x18
const SEQUENCE = 0x30
const SET = 0x31
const EXPLICIT_0 = 0xa0

/** 1.3.101.112, Ed25519 (RFC 8410), and 2.5.4.3, the common name. */
const ED25519_OID = [0x2b, 0x65, 0x70]
const COMMON_NAME_OID = [0x55, 0x04, 0x03]
const SERIAL_BYTES = 8

/**
 * A certificate that nobody vouches for: X.509 (RFC 5280) with a fresh Ed25519 key and no extensions. It
 * names nobody and never ends, since whoever trusts it does so by its fingerprint, heard over a channel
 * that is authenticated already. Node can read certificates and not make them; this is the smallest.
 */
export function selfSignedCertificate(): SelfSignedCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const algorithm = der(SEQUENCE, der(OBJECT_IDENTIFIER, ED25519_OID))
  const commonName = der(SEQUENCE, der(OBJECT_IDENTIFIER, COMMON_NAME_OID), der(UTF8_STRING, text('hearth')))
  const name = der(SEQUENCE, der(SET, commonName))
  const signed = der(
    SEQUENCE,
    der(EXPLICIT_0, der(INTEGER, [2])),
    // The first bit clear: a serial number is positive.
    der(INTEGER, [0x01, ...randomBytes(SERIAL_BYTES)]),
    algorithm,
    name,
    der(
      SEQUENCE,
      der(GENERALIZED_TIME, text('20200101000000Z')),
      der(GENERALIZED_TIME, text('99991231235959Z')),
    ),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  )
  const signature = sign(null, signed, privateKey)
  const certificate = der(SEQUENCE, signed, algorithm, der(BIT_STRING, [0], signature))
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    fingerprint: new Uint8Array(createHash('sha256').update(certificate).digest()),
  }
}

/** One value of ASN.1's distinguished encoding: tag, length, content. */
function der(tag: number, ...parts: (Uint8Array | number[])[]): Buffer {
  const content = Buffer.concat(parts.map((part) => Uint8Array.from(part)))
  return Buffer.concat([Uint8Array.from([tag, ...lengthOf(content.byteLength)]), content])
}

/** Up to 127 in one byte, more behind a count of the bytes that it takes. */
function lengthOf(length: number): number[] {
  if (length < 0x80) return [length]
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
