import { sleep, type Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import type { SwarmView } from './swarm-view.ts'

const AGAIN_MS = 250

/**
 * The CID of the context with this name in the swarm. Retries for `ms`, because adverts arrive within a
 * second or two of joining. Throws the error of the last attempt, such as `context-unknown`.
 */
export async function resolveContext(
  clock: Clock,
  view: SwarmView,
  context: string,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<string> {
  let lastError: unknown
  try {
    return await withDeadline(
      { clock, ms, whose: `a peer that holds "${context}"`, signal },
      async (until) => {
        for (;;) {
          try {
            return await view.resolve(context, until)
          } catch (error) {
            lastError = error
          }
          await sleep(clock, AGAIN_MS, until)
        }
      },
    )
  } catch (error) {
    signal?.throwIfAborted()
    throw lastError ?? error
  }
}
