// Both ends of a stream prove that they have the same owner key: docs/protocol/job.md.
import { randomBytes } from 'node:crypto'
import { encode } from '@ipld/dag-cbor'
import { HearthError } from '../../base/errors.ts'
import type { MessageStream, WaitOptions } from '../../base/stream/message-stream.ts'
import {
  challengeSchema,
  helloSchema,
  NONCE_BYTES,
  proofSchema,
  provenSchema,
  type Proof,
} from './job-messages.ts'
import type { OwnerKey } from './owner-key.ts'

/** Put before what is signed, so that the signature means nothing elsewhere. */
const SIGNATURE_DOMAIN = 'hearth-job/1\n'

/** Both ends of a stream and their nonces: a proof for one stream proves nothing on another. */
export interface Meeting {
  asker: string
  server: string
  askerNonce: Uint8Array
  serverNonce: Uint8Array
}

/** The refusal that every stranger gets: it does not say why, nor whether this peer has an owner key. */
function notTheOwner(peer: string): HearthError {
  return new HearthError('peer-unreachable', `peer ${peer} is not of the same owner`, {
    data: { peer, isForeign: true },
  })
}

/** The asker's side. Throws `peer-unreachable` when the other end has another owner key, or none. */
export async function proveAsAsker(
  stream: MessageStream,
  { key, self }: { key: OwnerKey; self: string },
  wait: WaitOptions,
): Promise<void> {
  const askerNonce = Uint8Array.from(randomBytes(NONCE_BYTES))
  await stream.send({ type: 'hello', nonce: askerNonce }, wait)
  const challenge = await stream.receive(challengeSchema, wait)
  if (challenge === undefined) throw notTheOwner(stream.peer)
  const meeting = { asker: self, server: stream.peer, askerNonce, serverNonce: challenge.nonce }
  await stream.send(await prove('asker', meeting, key), wait)
  const answer = await stream.receive(provenSchema, wait)
  if (answer?.type !== 'proof' || !(await isProof('server', meeting, { key, proof: answer })))
    throw notTheOwner(stream.peer)
}

/**
 * The server's side: whether the asker has our owner key. A stranger is told the same, by the same
 * messages, whatever the reason; without an owner key a throw-away one is compared.
 */
export async function proveAsServer(
  stream: MessageStream,
  { key, self }: { key: OwnerKey; self: string },
  wait: WaitOptions,
): Promise<boolean> {
  const hello = await stream.receive(helloSchema, wait)
  if (hello === undefined) return false
  const serverNonce = Uint8Array.from(randomBytes(NONCE_BYTES))
  await stream.send({ type: 'challenge', nonce: serverNonce }, wait)
  const proof = await stream.receive(proofSchema, wait)
  if (proof === undefined) return false
  const meeting = { asker: stream.peer, server: self, askerNonce: hello.nonce, serverNonce }
  const isOurs = await isProof('asker', meeting, { key, proof })
  await stream.send(isOurs ? await prove('server', meeting, key) : { type: 'refused' }, wait)
  return isOurs
}

/** The signature of one end. The role is part of it, so that neither end can send the other's back. */
async function prove(role: 'asker' | 'server', meeting: Meeting, key: OwnerKey): Promise<Proof> {
  return { type: 'proof', signature: Uint8Array.from(await key.sign(signedBytes(role, meeting))) }
}

async function isProof(
  role: 'asker' | 'server',
  meeting: Meeting,
  { key, proof }: { key: OwnerKey; proof: Proof },
): Promise<boolean> {
  return await key.publicKey.verify(signedBytes(role, meeting), proof.signature)
}

function signedBytes(role: 'asker' | 'server', meeting: Meeting): Uint8Array {
  return Buffer.concat([Buffer.from(SIGNATURE_DOMAIN), encode({ role, ...meeting })])
}
