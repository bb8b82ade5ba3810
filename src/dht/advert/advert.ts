import { decode, encode } from '@ipld/dag-cbor'
import type { PrivateKey, PublicKey } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { ADVERT_BYTES_MAX, ADVERT_CONTEXTS_MAX, ADVERT_TTL_MS_MAX } from '../../base/limits.ts'

/** A peer's signed, expiring statement: docs/protocol/advert.md. */
export const ADVERT_VERSION = 1
/**
 * How far the clock of an advert may differ from ours, ms. It only has to catch very old adverts, because a
 * peer sends its own. Clocks of home machines with two operating systems are often hours off.
 */
export const ADVERT_CLOCK_SKEW_MS_MAX: number = 24 * 3_600_000
/** Put before the payload when it is signed, so that the signature means nothing elsewhere. */
const SIGNATURE_DOMAIN: Uint8Array = new TextEncoder().encode('hearth-advert/1\n')

export type AdvertTier = 'partial' | 'stored' | 'warm'

export interface AdvertContext {
  contextId: string
  name: string
  tier: AdvertTier
  /** How much of it is verified on disk, in [0, 1]: only at tier `partial`. */
  share?: number | undefined
  /** The size of all its files together. */
  bytes?: number | undefined
  /** Whether it is being fetched now; only at tier `partial`. */
  isFetching?: boolean | undefined
  /** Jobs run on it here now. */
  isBusy?: boolean | undefined
  /** The numeric class of a loaded context: peers of the same class give bit-equal results. */
  numericClass?: string | undefined
  /** Measured, all slots together. */
  tokensPerSecond?: number | undefined
  /** Measured: from its files on disk to loaded. */
  loadMs?: number | undefined
}

/** Which spare copies a peer takes now: any, only of models that might otherwise be lost, or none. */
export type AdvertReplicas = 'any' | 'last' | 'none'

/** The claims of a peer about itself; the exchange adds its id and the dates. */
export interface AdvertBody {
  agent: string
  /** At most ADVERT_CONTEXTS_MAX. */
  contexts: AdvertContext[]
  device: { kind: 'cpu' | 'gpu'; name: string; threads: number; memoryBytes: number }
  /** Requests it runs at once. */
  slots: number
  /** Measured: how fast it has fetched contexts from others. */
  fetchBytesPerSecond?: number | undefined
  /** Absent: none. */
  replicas?: AdvertReplicas | undefined
  serving: {
    /** Whether it takes work now. */
    accepts: boolean
    /** Why not, as a code: 'paused', 'draining', 'submit-only', … */
    reason?: string | undefined
  }
}

export interface Advert extends AdvertBody {
  version: typeof ADVERT_VERSION
  peer: string
  /** Grows with every advert that the peer signs, also across its restarts. */
  sequence: number
  issuedAtMs: number
  /** At most ADVERT_TTL_MS_MAX. */
  ttlMs: number
}

/** The wire form: the dag-cbor bytes of an `Advert`, and the peer's signature over them. */
export interface SignedAdvert {
  payload: Uint8Array
  signature: Uint8Array
}

const countSchema = z.int().min(0)
const shortTextSchema = z.string().max(128)

const AdvertContextSchema = z.strictObject({
  contextId: shortTextSchema.min(1),
  name: shortTextSchema,
  tier: z.enum(['partial', 'stored', 'warm']),
  share: z.number().min(0).max(1).optional(),
  bytes: countSchema.optional(),
  isFetching: z.boolean().optional(),
  isBusy: z.boolean().optional(),
  numericClass: shortTextSchema.optional(),
  tokensPerSecond: z.number().min(0).optional(),
  loadMs: countSchema.optional(),
})

const AdvertSchema: z.ZodType<Advert> = z.strictObject({
  version: z.literal(ADVERT_VERSION),
  peer: shortTextSchema.min(1),
  sequence: countSchema,
  issuedAtMs: countSchema,
  ttlMs: z.int().min(1).max(ADVERT_TTL_MS_MAX),
  agent: z.string().max(64),
  contexts: z.array(AdvertContextSchema).max(ADVERT_CONTEXTS_MAX),
  device: z.strictObject({
    kind: z.enum(['cpu', 'gpu']),
    name: shortTextSchema,
    threads: countSchema,
    memoryBytes: countSchema,
  }),
  slots: countSchema.max(1_000_000),
  fetchBytesPerSecond: countSchema.optional(),
  replicas: z.enum(['any', 'last', 'none']).optional(),
  serving: z.strictObject({ accepts: z.boolean(), reason: z.string().max(64).optional() }),
})

export const SignedAdvertSchema: z.ZodType<SignedAdvert> = z.strictObject({
  payload: z.instanceof(Uint8Array).refine((bytes) => bytes.byteLength <= ADVERT_BYTES_MAX, 'too large'),
  signature: z.instanceof(Uint8Array).refine((bytes) => bytes.byteLength === 64, 'not an Ed25519 signature'),
})

/** Signs `advert` with its peer's key. Throws `limit-reached` when it is over ADVERT_BYTES_MAX, `internal` when it is no advert. */
export async function signAdvert(advert: Advert, key: PrivateKey): Promise<SignedAdvert> {
  const checked = AdvertSchema.safeParse(advert)
  if (!checked.success) throw new HearthError('internal', `not an advert: ${z.prettifyError(checked.error)}`)
  const payload = encode(withoutUndefined(advert))
  if (payload.byteLength > ADVERT_BYTES_MAX)
    throw new HearthError(
      'limit-reached',
      `an advert of ${payload.byteLength} bytes is over ${ADVERT_BYTES_MAX}`,
    )
  return { payload, signature: await key.sign(signedBytes(payload)) }
}

/**
 * The advert in `signed`, which `remotePeer` sent at wall time `nowMs`.
 * Throws `message-invalid` unless it is well formed, signed by that very peer, and not long expired.
 */
export async function verifyAdvert(signed: SignedAdvert, remotePeer: string, nowMs: number): Promise<Advert> {
  const { payload, signature } = signed
  if (payload.byteLength > ADVERT_BYTES_MAX) throw invalid(remotePeer, 'it is too large')
  if (!(await publicKeyOf(remotePeer).verify(signedBytes(payload), signature)))
    throw invalid(remotePeer, 'it is not signed by that peer')
  const advert = parseAdvert(payload, remotePeer)
  if (advert.peer !== remotePeer) throw invalid(remotePeer, `it is of another peer, ${advert.peer}`)
  if (advert.issuedAtMs + advert.ttlMs + ADVERT_CLOCK_SKEW_MS_MAX < nowMs)
    throw invalid(remotePeer, 'it has expired')
  if (advert.issuedAtMs - ADVERT_CLOCK_SKEW_MS_MAX > nowMs)
    throw invalid(remotePeer, 'it is from the future: is its clock right?')
  return advert
}

function parseAdvert(payload: Uint8Array, remotePeer: string): Advert {
  let value: unknown
  try {
    value = decode(payload)
  } catch (cause) {
    throw invalid(remotePeer, 'it is not dag-cbor', cause)
  }
  const checked = AdvertSchema.safeParse(value)
  if (checked.success) return checked.data
  throw invalid(remotePeer, checked.error.issues[0]?.message ?? 'it is not an advert', checked.error)
}

/** An Ed25519 peer id contains its public key; no other kind of peer is ours. */
function publicKeyOf(peer: string): PublicKey {
  const id = peerIdFromString(peer)
  if (id.type === 'Ed25519') return id.publicKey
  throw invalid(peer, 'its peer id has no Ed25519 key')
}

function signedBytes(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(SIGNATURE_DOMAIN.byteLength + payload.byteLength)
  bytes.set(SIGNATURE_DOMAIN)
  bytes.set(payload, SIGNATURE_DOMAIN.byteLength)
  return bytes
}

/** dag-cbor has no undefined: an optional field that is absent is left out. */
function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .map(([name, field]) => [name, withoutUndefined(field)]),
  )
}

function invalid(peer: string, why: string, cause?: unknown): HearthError {
  return new HearthError('message-invalid', `the advert of peer ${peer} is refused: ${why}`, {
    data: { peer },
    cause,
  })
}
