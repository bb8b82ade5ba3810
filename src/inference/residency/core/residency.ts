// Decides which contexts are loaded within a memory limit, which callers wait, and what is unloaded. Pure:
// every event passes the time. docs/decisions/0015-residency.md explains the constants.
import { areStepsChecked, invariant, present } from '../../../base/invariants.ts'
import { roomFor, spentRoom, stayMs } from './residency-room.ts'
import { checkResidency } from './residency-check.ts'
import { type Residency, type Resident, SIZES_REMEMBERED_MAX, moveResident } from './residency-state.ts'

export type ResidencyEvent =
  /** A caller wants to use a context. `estimateBytes` stands for its size until it is measured. */
  | { kind: 'acquire'; ticket: number; contextId: string; estimateBytes: number }
  /** The use has ended, or its acquirer waits no longer. */
  | { kind: 'release'; ticket: number }
  | { kind: 'loaded'; contextId: string }
  | { kind: 'failed'; contextId: string }
  | { kind: 'measured'; contextId: string; bytes: number }
  /** Unload it, even while it is in use. */
  | { kind: 'evict'; contextId: string; reason: string }
  /** Its process is gone. */
  | { kind: 'unloaded'; contextId: string }
  /** Time has passed: see `nextTickMs`. */
  | { kind: 'tick' }

export type ResidencyEffect =
  /** The ticket is a use of the context now, which is loaded or loads. */
  | { kind: 'grant'; ticket: number; contextId: string }
  | { kind: 'refuse'; ticket: number; contextId: string; why: string }
  /** Load it, and say `loaded` or `failed`. `ticket` is whom it is loaded for. */
  | { kind: 'load'; contextId: string; ticket: number }
  /** A loaded context is about to be unloaded: callers must no longer rely on it. */
  | { kind: 'close'; contextId: string; reason: string }
  /** End its process, and say `unloaded`. */
  | { kind: 'unload'; contextId: string }

/** Takes one event and returns its effects. The only function that changes a residency. */
export function stepResidency(state: Residency, event: ResidencyEvent, nowMs: number): ResidencyEffect[] {
  const effects: ResidencyEffect[] = []
  apply(state, event, nowMs, effects)
  shrink(state, effects)
  serveWaiters(state, nowMs, effects)
  if (areStepsChecked()) checkResidency(state)
  return effects
}

/** When time alone may let the first waiter in; undefined when only an event can. */
export function nextTickMs({ residents, waiters, options }: Residency, nowMs: number): number | undefined {
  const [first] = waiters
  if (first === undefined) return undefined
  const times = [first.sinceMs + options.patienceMs]
  for (const resident of residents.values()) {
    if (resident.phase !== 'loaded') continue
    times.push(resident.loadedMs + stayMs(resident, options))
    if (resident.uses === 0) times.push(resident.usedMs + options.idleMsMin)
  }
  const ahead = times.filter((time) => time > nowMs)
  return ahead.length === 0 ? undefined : Math.min(...ahead)
}

function apply(state: Residency, event: ResidencyEvent, nowMs: number, effects: ResidencyEffect[]): void {
  switch (event.kind) {
    case 'acquire':
      return acquire(state, event, nowMs, effects)
    case 'release':
      return release(state, event.ticket, nowMs, effects)
    case 'loaded':
      return onLoaded(state, event.contextId, nowMs)
    case 'measured':
      return measure(state, event.contextId, event.bytes)
    case 'failed':
      return leave(residentOf(state, event.contextId), 'its process failed', effects)
    case 'evict':
      return leave(residentOf(state, event.contextId), event.reason, effects)
    case 'unloaded':
      return onUnloaded(state, event.contextId)
    case 'tick':
  }
}

function residentOf({ residents }: Residency, contextId: string): Resident {
  return present(residents.get(contextId), 'only a resident fails, is evicted or unloaded', { contextId })
}

function onUnloaded(state: Residency, contextId: string): void {
  const { phase } = residentOf(state, contextId)
  invariant(phase === 'leaving', 'only the process of a leaving context is gone', { contextId, phase })
  state.residents.delete(contextId)
}

function acquire(
  state: Residency,
  { ticket, contextId, estimateBytes }: Extract<ResidencyEvent, { kind: 'acquire' }>,
  nowMs: number,
  effects: ResidencyEffect[],
): void {
  const { memoryBytesMax, waitersMax } = state.options
  const resident = state.residents.get(contextId)
  if (resident?.phase === 'loading' || resident?.phase === 'loaded') {
    return grant(state, resident, ticket, nowMs, effects)
  }
  const refuse = (why: string): void => void effects.push({ kind: 'refuse', ticket, contextId, why })
  if (estimateBytes > memoryBytesMax) {
    return refuse(
      `it needs about ${estimateBytes} bytes of memory, and all contexts together may use ${memoryBytesMax}`,
    )
  }
  if (state.waiters.length >= waitersMax) {
    return refuse(`the loading queue is full: ${state.waiters.length} others are waiting`)
  }
  // One that once grew over the bound may come back alone.
  const bytes = Math.min(state.sizes.get(contextId) ?? estimateBytes, memoryBytesMax)
  state.waiters.push({ ticket, contextId, bytes, sinceMs: nowMs })
}

function grant(
  state: Residency,
  resident: Resident,
  ticket: number,
  nowMs: number,
  effects: ResidencyEffect[],
): void {
  const { contextId } = resident
  invariant(!state.tickets.has(ticket), 'a ticket is granted once', { ticket, contextId })
  state.tickets.set(ticket, resident)
  resident.uses += 1
  resident.usedMs = nowMs
  effects.push({ kind: 'grant', ticket, contextId })
}

function release(state: Residency, ticket: number, nowMs: number, effects: ResidencyEffect[]): void {
  const resident = state.tickets.get(ticket)
  // Releasing twice is allowed: an acquirer that gives up may not know whether it was refused.
  if (resident === undefined) {
    const waiting = state.waiters.findIndex((waiter) => waiter.ticket === ticket)
    if (waiting >= 0) state.waiters.splice(waiting, 1)
    return
  }
  state.tickets.delete(ticket)
  resident.uses -= 1
  resident.usedMs = nowMs
  const isUnwanted = resident.phase === 'loading' || resident.phase === 'closing'
  if (resident.uses === 0 && isUnwanted) leave(resident, '', effects)
}

function onLoaded({ residents }: Residency, contextId: string, nowMs: number): void {
  const resident = residents.get(contextId)
  // It was evicted while it loaded, and its process said so too late.
  if (resident?.phase !== 'loading') return
  moveResident(resident, 'loaded')
  resident.loadedMs = nowMs
  resident.loadMs = nowMs - resident.loadBeganMs
  resident.usedMs = nowMs
}

function measure({ residents, sizes }: Residency, contextId: string, bytes: number): void {
  const resident = residents.get(contextId)
  // Processes are looked at on a timer: this one may be gone, or not yet have what it will have.
  if (resident === undefined || resident.phase === 'loading') return
  resident.bytes = resident.isMeasured ? Math.max(resident.bytes, bytes) : bytes
  resident.isMeasured = true
  sizes.delete(contextId)
  sizes.set(contextId, resident.bytes)
  for (const oldest of sizes.keys()) {
    if (sizes.size <= SIZES_REMEMBERED_MAX) break
    sizes.delete(oldest)
  }
}

/** Ends the process, after telling the callers that may rely on it. */
function leave(resident: Resident, reason: string, effects: ResidencyEffect[]): void {
  // Several may say so: each user of a process that failed, and who evicts it.
  if (resident.phase === 'leaving') return
  const { contextId } = resident
  if (resident.phase === 'loaded') effects.push({ kind: 'close', contextId, reason })
  moveResident(resident, 'leaving')
  effects.push({ kind: 'unload', contextId })
}

/** Closes a context to new uses; it unloads now, or after its last use. */
function close(resident: Resident, reason: string, effects: ResidencyEffect[]): void {
  if (resident.uses === 0) return leave(resident, reason, effects)
  moveResident(resident, 'closing')
  effects.push({ kind: 'close', contextId: resident.contextId, reason })
}

/** A process has grown: unloads idle contexts until the rest fits. */
function shrink(state: Residency, effects: ResidencyEffect[]): void {
  for (const resident of spentRoom(state)) leave(resident, 'loaded contexts exceed the memory limit', effects)
}

/** In their order; those who want a context that is loaded for the first of them get it with him. */
function serveWaiters(state: Residency, nowMs: number, effects: ResidencyEffect[]): void {
  const { residents, waiters } = state
  for (let first = waiters[0]; first !== undefined; first = waiters[0]) {
    const { ticket, contextId, bytes } = first
    // It is on its way out: it comes back when it is gone.
    if (residents.has(contextId)) return
    const room = roomFor(state, first, nowMs)
    for (const victim of room.close) close(victim, `it made room for context ${contextId}`, effects)
    if (!room.isFree) return
    const resident = newResident(contextId, bytes, nowMs)
    residents.set(contextId, resident)
    effects.push({ kind: 'load', contextId, ticket })
    const served = waiters.filter((waiter) => waiter.contextId === contextId)
    waiters.splice(0, waiters.length, ...waiters.filter((waiter) => waiter.contextId !== contextId))
    for (const waiter of served) grant(state, resident, waiter.ticket, nowMs, effects)
  }
}

function newResident(contextId: string, bytes: number, nowMs: number): Resident {
  return {
    contextId,
    phase: 'loading',
    bytes,
    isMeasured: false,
    uses: 0,
    loadBeganMs: nowMs,
    loadMs: 0,
    loadedMs: 0,
    usedMs: nowMs,
  }
}
