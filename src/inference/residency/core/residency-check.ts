import { invariant } from '../../../base/invariants.ts'
import { type Residency, type Resident, SIZES_REMEMBERED_MAX } from './residency-state.ts'

/** Throws `internal` when an invariant of the residency does not hold between two steps. */
export function checkResidency(state: Residency): void {
  checkResidents(state)
  checkUses(state)
  checkWaiters(state)
  checkMemory(state)
  invariant(state.sizes.size <= SIZES_REMEMBERED_MAX, 'sizes are remembered of so many contexts', {
    sizes: state.sizes.size,
  })
}

function checkResidents({ residents, options }: Residency): void {
  invariant(residents.size <= options.contextsMax, 'no more contexts are resident than there are places', {
    residents: residents.size,
    contextsMax: options.contextsMax,
  })
  for (const [contextId, resident] of residents) {
    const { phase, uses, bytes, isMeasured } = resident
    const values = { contextId, phase, uses, bytes }
    invariant(resident.contextId === contextId, 'a resident is filed under its context', values)
    invariant(bytes >= 0, 'a resident has a size', values)
    invariant(phase !== 'loading' || uses > 0, 'a context loads for somebody', values)
    invariant(phase !== 'closing' || uses > 0, 'a closing context still runs its last uses', values)
    invariant(phase !== 'loading' || !isMeasured, 'a context is measured once it is loaded', values)
  }
}

/** Each use has a ticket. An evicted context may be gone before its users give it back. */
function checkUses({ residents, tickets }: Residency): void {
  const counted = new Map<Resident, number>()
  for (const resident of tickets.values()) counted.set(resident, (counted.get(resident) ?? 0) + 1)
  for (const resident of new Set([...residents.values(), ...counted.keys()])) {
    const { contextId, uses, phase } = resident
    const known = counted.get(resident) ?? 0
    invariant(uses === known, 'each use of a resident has a ticket', { contextId, uses, tickets: known })
    invariant(
      phase === 'leaving' || residents.get(contextId) === resident,
      'a use is of a resident, or of one that has left',
      { contextId, phase },
    )
  }
}

function checkWaiters({ waiters, tickets, residents, options }: Residency): void {
  invariant(waiters.length <= options.waitersMax, 'no more wait than may', {
    waiters: waiters.length,
    waitersMax: options.waitersMax,
  })
  const seen = new Set<number>()
  let sinceMs = -Infinity
  for (const waiter of waiters) {
    const { ticket, contextId } = waiter
    const phase = residents.get(contextId)?.phase
    invariant(!seen.has(ticket) && !tickets.has(ticket), 'a ticket waits once, and not while it is a use', {
      ticket,
      contextId,
    })
    invariant(phase !== 'loading' && phase !== 'loaded', 'nobody waits for what is loaded', {
      ticket,
      contextId,
      phase,
    })
    invariant(waiter.sinceMs >= sinceMs, 'waiters are in the order in which they came', { ticket })
    invariant(waiter.bytes <= options.memoryBytesMax, 'nobody waits for what never fits', {
      ticket,
      bytes: waiter.bytes,
    })
    seen.add(ticket)
    sinceMs = waiter.sinceMs
  }
}

function checkMemory({ residents, waiters, options }: Residency): void {
  const { memoryBytesMax, contextsMax } = options
  const all = [...residents.values()]
  const used = bytesOf(all)
  const staying = bytesOf(all.filter(({ phase }) => phase === 'loading' || phase === 'loaded'))
  const isIdle = all.some(({ phase, uses }) => phase === 'loaded' && uses === 0)
  invariant(staying <= memoryBytesMax || !isIdle, 'nothing idle stays while memory is over its bound', {
    staying,
    memoryBytesMax,
  })
  const [first] = waiters
  if (first === undefined) return
  const fits = used + first.bytes <= memoryBytesMax && all.length < contextsMax
  invariant(!fits || residents.has(first.contextId), 'the first to wait is let in while there is room', {
    contextId: first.contextId,
    used,
    bytes: first.bytes,
  })
}

function bytesOf(residents: readonly Resident[]): number {
  return residents.reduce((sum, { bytes }) => sum + bytes, 0)
}
