import { sleep, type Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import type { SwarmView } from './swarm-view.ts'

const AGAIN_MS = 250

/**
 * The CID of the context that peers of the swarm call so. Asks again for `ms`: the adverts of a swarm just
 * joined come in within a second or two. Throws what the last answer was, as `context-unknown`.
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
