// Chooses the contexts to unload for another one: part of core/residency.ts. Changes no state.
import type { Residency, ResidencyOptions, Resident, Waiter } from './residency-state.ts'

export interface Room {
  /** Whether the waiter's context can be loaded now. */
  isFree: boolean
  /** The contexts to unload for it; empty when that is not enough, or is already under way. */
  close: Resident[]
}

const NONE: Resident[] = []

/** How long a context stays once it is loaded, ms. */
export function stayMs({ loadMs }: Resident, { stayMsMin, stayPerLoad }: ResidencyOptions): number {
  return Math.max(stayMsMin, stayPerLoad * loadMs)
}

export function roomFor(state: Residency, waiter: Waiter, nowMs: number): Room {
  const { memoryBytesMax, contextsMax } = state.options
  const residents = [...state.residents.values()]
  const missing = {
    bytes: sumBytes(residents) + waiter.bytes - memoryBytesMax,
    places: residents.length + 1 - contextsMax,
  }
  if (missing.bytes <= 0 && missing.places <= 0) return { isFree: true, close: [] }
  const going = residents.filter(({ phase }) => phase === 'closing' || phase === 'leaving')
  missing.bytes -= sumBytes(going)
  missing.places -= going.length
  const isPatient = nowMs - waiter.sinceMs < state.options.patienceMs
  const candidates = residents.filter((resident) => mayGo(resident, state.options, isPatient, nowMs))
  return { isFree: false, close: fewest(candidates.sort(firstToGo(state.options)), missing) }
}

/** Idle contexts to unload because the loaded ones exceed the memory limit, without hysteresis. */
export function spentRoom({ residents, options }: Residency): Resident[] {
  let excess = -options.memoryBytesMax
  for (const { phase, bytes } of residents.values())
    if (phase !== 'closing' && phase !== 'leaving') excess += bytes
  // This runs at every event and is rarely true, so it allocates nothing.
  if (excess <= 0) return NONE
  const idle = [...residents.values()].filter(({ phase, uses }) => phase === 'loaded' && uses === 0)
  return idle.sort(firstToGo(options)).filter(({ bytes }) => {
    if (excess <= 0) return false
    excess -= bytes
    return true
  })
}

function mayGo(resident: Resident, options: ResidencyOptions, isPatient: boolean, nowMs: number): boolean {
  if (resident.phase !== 'loaded') return false
  if (nowMs - resident.loadedMs < stayMs(resident, options)) return false
  return !isPatient || (resident.uses === 0 && nowMs - resident.usedMs >= options.idleMsMin)
}

/** Idle ones first; then by their last use, put later by what reloading would cost. Ties by id. */
function firstToGo({ reloadWeight }: ResidencyOptions): (left: Resident, right: Resident) => number {
  const isUsed = ({ uses }: Resident): number => (uses > 0 ? 1 : 0)
  const worth = ({ usedMs, loadMs }: Resident): number => usedMs + reloadWeight * loadMs
  return (left, right) =>
    isUsed(left) - isUsed(right) || worth(left) - worth(right) || (left.contextId < right.contextId ? -1 : 1)
}

/** The first of `candidates` that will do, without those that could stay after all; none when all do not do. */
function fewest(candidates: readonly Resident[], missing: { bytes: number; places: number }): Resident[] {
  let { bytes, places } = missing
  const taken: Resident[] = []
  for (const candidate of candidates) {
    if (bytes <= 0 && places <= 0) break
    taken.push(candidate)
    bytes -= candidate.bytes
    places -= 1
  }
  if (bytes > 0 || places > 0) return []
  return taken.toReversed().filter((candidate) => {
    if (bytes + candidate.bytes > 0 || places + 1 > 0) return true
    bytes += candidate.bytes
    places += 1
    return false
  })
}

function sumBytes(residents: readonly Resident[]): number {
  return residents.reduce((sum, { bytes }) => sum + bytes, 0)
}
