import { sleep, type Clock } from '../../base/clock.ts'
import { isHearthError } from '../../base/errors.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import type { SwarmView } from './swarm-view.ts'

const AGAIN_MS = 250

/** Adverts of a swarm that was just joined come one by one: so long is waited for a second context of that name. */
const OTHERS_MS = 1_000

/** A name that a job used before, and what it stood for; undefined where the use is the first. */
export interface NameInUse {
  name: string
  known: string | undefined
}

/**
 * The CID of the context with this name in the swarm. Retries for `ms`, because adverts arrive within a
 * second or two of joining. Throws the error of the last attempt, such as `context-unknown`.
 */
export async function resolveContext(
  clock: Clock,
  view: Pick<SwarmView, 'resolve'>,
  { name, known }: NameInUse,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<string> {
  let lastError: unknown
  try {
    return await withDeadline({ clock, ms, whose: `a peer that holds "${name}"`, signal }, async (until) => {
      for (;;) {
        try {
          const found = await view.resolve(name, until, known)
          if (known !== undefined) return found
          await sleep(clock, Math.min(OTHERS_MS, ms / 4), until)
          return await view.resolve(name, until)
        } catch (error) {
          // Another peer may bring the known one; two that differ stay two.
          if (known === undefined && isHearthError(error, 'context-ambiguous')) throw error
          lastError = error
        }
        await sleep(clock, AGAIN_MS, until)
      }
    })
  } catch (error) {
    signal?.throwIfAborted()
    if (isHearthError(error, 'context-ambiguous')) throw error
    throw lastError ?? error
  }
}
