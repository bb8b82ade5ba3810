// The state and constants of core/residency.ts (docs/decisions/0015-residency.md).
import { impossible } from '../../../base/invariants.ts'
import { SmallMap } from '../../../base/small-map.ts'

/** Contexts of which the measured size is remembered; the oldest is forgotten first. */
export const SIZES_REMEMBERED_MAX = 1_024

export interface ResidencyOptions {
  /** Memory of all loaded contexts together, bytes. */
  memoryBytesMax: number
  /** Contexts loaded at once. */
  contextsMax: number
  /** Acquirers that may wait for room. */
  waitersMax: number
  /** A context stays this long once it is loaded, whoever else waits, ms … */
  stayMsMin: number
  /** … and this many times as long as its loading took. */
  stayPerLoad: number
  /** A context that was used this recently makes room only for one that has waited for `patienceMs`, ms. */
  idleMsMin: number
  /** A waiter of this age may replace contexts in use: they take no new uses and unload after their last. */
  patienceMs: number
  /** For choosing what to unload: the worth of 1 ms of loading in ms of recent use. */
  reloadWeight: number
}

/** Loading takes at most a tenth of the time, however demand alternates: 1 / (1 + stayPerLoad). */
export const RESIDENCY_DEFAULTS: Omit<ResidencyOptions, 'memoryBytesMax'> = {
  contextsMax: 16,
  waitersMax: 256,
  stayMsMin: 5_000,
  stayPerLoad: 9,
  idleMsMin: 2_000,
  patienceMs: 5_000,
  reloadWeight: 30,
}

/**
 * `loading` → `loaded` → `closing`: no new uses, its last ones are running → `leaving`: its process is
 * being ended. Until that is gone its memory counts.
 */
export type ResidentPhase = 'loading' | 'loaded' | 'closing' | 'leaving'

const MOVES: Readonly<Record<ResidentPhase, readonly ResidentPhase[]>> = {
  loading: ['loaded', 'leaving'],
  loaded: ['closing', 'leaving'],
  closing: ['leaving'],
  leaving: [],
}

/** The only function that changes a resident's phase. Throws `internal` when the move is not in MOVES. */
export function moveResident(resident: Resident, phase: ResidentPhase): void {
  const { contextId, phase: from } = resident
  if (!MOVES[from].includes(phase))
    throw impossible('a resident only moves on', { contextId, from, to: phase })
  resident.phase = phase
}

export interface Resident {
  contextId: string
  phase: ResidentPhase
  /** An estimate until its first measurement, then the most that was measured. */
  bytes: number
  isMeasured: boolean
  /** Those that have not ended. */
  uses: number
  loadBeganMs: number
  loadMs: number
  loadedMs: number
  usedMs: number
}

export interface Waiter {
  ticket: number
  contextId: string
  bytes: number
  sinceMs: number
}

export interface Residency {
  readonly options: ResidencyOptions
  readonly residents: Map<string, Resident>
  /** In the order in which they came. */
  readonly waiters: Waiter[]
  /** The resident that each ticket uses. */
  readonly tickets: SmallMap<Resident>
  /** Measured sizes of contexts at their last load; the oldest is forgotten. */
  readonly sizes: Map<string, number>
}

/** Throws RangeError. */
export function createResidency(options: ResidencyOptions): Residency {
  for (const [name, value] of Object.entries(options)) {
    const least = name.endsWith('Max') ? 1 : 0
    if (!(value >= least)) throw new RangeError(`${name} must be at least ${least}, got ${value}`)
  }
  return { options, residents: new Map(), waiters: [], tickets: new SmallMap(), sizes: new Map() }
}
