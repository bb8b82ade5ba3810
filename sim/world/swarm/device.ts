import type { RandomStreams } from '../../kernel/random-streams.ts'
import { normal } from '../../churn/distribution.ts'
import type { Device, PeerGroup, Scenario } from '../../scenarios/schema.ts'

/** The GPU of one peer: its model, and what its host makes of it. */
export interface PeerDevice {
  model: string
  slots: number
  memoryBytes: number
  diskBytes: number
  /** The time of one inference in one slot while all slots are in use. */
  inferenceS: number
  loadS: number
  unpackS: number
  upMbps: number
  downMbps: number
  /** The share of corrupted chunks among those it sends, in [0, 1]. */
  corruptShare: number
  /** Whether it says that it has what it has not, and answers nobody. */
  isLiar: boolean
}

/** Multiples of these, without their whole parts, cover [0, 1) evenly however many are taken. */
const GOLDEN = 0.6180339887498949
const SILVER = 0.4142135623730951

function spread(number: number, step: number): number {
  return ((number + 0.5) * step) % 1
}

/** Which GPU peer `number` of a group has: the same in every run with the seed. */
export function deviceOf(
  scenario: Scenario,
  group: PeerGroup,
  number: number,
  streams: RandomStreams,
): PeerDevice {
  const random = streams.of(`${group.name}/${number}`, 'device')
  const model =
    typeof group.device === 'string' ? group.device : chooseByShare(group.device, spread(number, GOLDEN))
  const device = scenario.devices[model] as Device
  const { inferenceS, loadS, slots, memoryGB, hosts } = device
  const straggles = group.stragglers !== undefined && random.next() < group.stragglers.share
  const factor = hostFactor(hosts, spread(number, SILVER)) * (straggles ? (group.stragglers?.factor ?? 1) : 1)
  return {
    model,
    slots,
    memoryBytes: memoryGB * 1e9,
    diskBytes: (group.diskGB ?? Number.POSITIVE_INFINITY) * 1e9,
    inferenceS: inferenceS * slots * factor,
    loadS: loadS * (straggles ? factor : 1),
    unpackS: scenario.contexts.unpackS * device.unpackFactor,
    upMbps: device.upMbps ?? group.upMbps,
    downMbps: device.downMbps ?? group.downMbps,
    ...faultsOf(group, (purpose) => streams.of(`${group.name}/${number}`, purpose).next()),
  }
}

/** The faults of a peer. Drawn from a separate stream, so that its device is the same with and without them. */
function faultsOf(
  { corrupters, liars }: PeerGroup,
  draw: (purpose: string) => number,
): Pick<PeerDevice, 'corruptShare' | 'isLiar'> {
  const isCorrupter = corrupters !== undefined && draw('corrupter') < corrupters.share
  const isLiar = liars !== undefined && draw('liar') < liars.share
  return { corruptShare: isCorrupter ? corrupters.chunkShare : 0, isLiar }
}

/** How long one load takes; some meet contention. */
export function loadSeconds(
  loadS: number,
  { contendedShare, contendedFactor, contendedSigma }: Scenario['loads'],
  random: { next(): number },
): number {
  if (random.next() >= contendedShare) return loadS
  return loadS * contendedFactor * Math.exp(contendedSigma * normal(random))
}

function chooseByShare(shares: Record<string, number>, at: number): string {
  const total = Object.values(shares).reduce((sum, share) => sum + share, 0)
  let left = at * total
  for (const [name, share] of Object.entries(shares)) {
    left -= share
    if (left < 0) return name
  }
  return Object.keys(shares).at(-1) as string
}

function hostFactor(hosts: Device['hosts'], at: number): number {
  let left = at
  for (const { factor, share } of hosts) {
    left -= share
    if (left < 0) return factor
  }
  return 1
}
