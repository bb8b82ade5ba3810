import { createHash } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import { HearthError } from '../../base/errors.ts'
import { WELCOME } from './direct-lane-messages.ts'
import { SocketReader, SocketStream } from './socket-stream.ts'

/** TLS options of both sides. Half-open, because a MessageStream ends one side at a time. */
export const DIRECT_TLS = {
  minVersion: 'TLSv1.3',
  // The fastest on every processor with instructions for AES: half the time of ChaCha20.
  ciphers: 'TLS_AES_128_GCM_SHA256',
  allowHalfOpen: true,
  // Certificates are self-signed; without this, TLS reads the root certificates, which takes 18 ms.
  ca: [] as string[],
} as const

export interface DirectOffer {
  port: number
  fingerprint: Uint8Array
  token: Uint8Array
}

/**
 * A socket to who made `offer`: encrypted, its certificate the one whose fingerprint was offered, our
 * token shown and welcomed. Throws `peer-unreachable`, or the signal's reason.
 */
export async function connectDirectly(
  host: string,
  offer: DirectOffer,
  signal: AbortSignal,
): Promise<SocketStream> {
  signal.throwIfAborted()
  const reader = new SocketReader()
  const target = { host, port: offer.port, onread: { buffer: reader.buffer, callback: reader.callback } }
  // The certificate is self-signed; its fingerprint is checked below instead.
  const socket = connect({ ...DIRECT_TLS, ...target, rejectUnauthorized: false })
  const onAbort = (): void => void socket.destroy(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await untilSecure(socket)
    requireFingerprint(socket, offer.fingerprint)
    const welcomed = untilWelcome(socket, reader)
    socket.write(offer.token)
    await welcomed
    signal.throwIfAborted()
    return new SocketStream(socket, reader)
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** The first `length` bytes of a socket that nobody reads yet; the rest stays in it. Throws `stream-closed`. */
export function readExactly(socket: TLSSocket, length: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const look = (): void => {
    const bytes = socket.read(length) as Buffer | null
    if (bytes !== null && bytes.byteLength === length) resolve(bytes)
    else if (bytes !== null) onEnd()
  }
  const onEnd = (): void => reject(new HearthError('stream-closed', 'the socket ended too soon'))
  socket.on('readable', look).once('end', onEnd).once('close', onEnd).once('error', reject)
  look()
  return promise.finally(() =>
    socket.off('readable', look).off('end', onEnd).off('close', onEnd).off('error', reject),
  )
}

/** The holder says nothing beyond its welcome until it is asked for something. Throws `message-invalid`. */
function untilWelcome(socket: TLSSocket, reader: SocketReader): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (): void => reject(new HearthError('message-invalid', 'it did not welcome our token'))
    reader.onBytes = (bytes) => (bytes.byteLength === 1 && bytes[0] === WELCOME ? resolve() : refuse())
    socket.once('close', refuse).once('end', refuse).once('error', reject)
  })
}

function untilSecure(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', () => {
      socket.off('error', reject)
      resolve()
    })
    socket.once('error', reject)
  })
}

function requireFingerprint(socket: TLSSocket, fingerprint: Uint8Array): void {
  const certificate = socket.getPeerX509Certificate()?.raw
  const actual = certificate === undefined ? undefined : createHash('sha256').update(certificate).digest()
  if (actual?.equals(fingerprint) === true) return
  throw new HearthError(
    'peer-unreachable',
    'The program that answers there is not the peer, because its certificate differs',
  )
}
