import { askPeer } from '../../api/control-client.ts'
import { sleep } from '../../base/clock.ts'
import { isHearthError } from '../../base/errors.ts'
import { numberOption } from '../../base/number-option.ts'
import type { DrainStatus } from '../../node/contexts/departure.ts'
import type { CommandContext, CommonOptions } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { requireControl } from './status.ts'
import { formatDuration, paint } from '../terminal/terminal.ts'

const ASK_EVERY_MS = 500

/** `hearth drain`: shuts the running peer down cleanly, and follows it until it has stopped. */
export async function drainCommand(
  options: CommonOptions & { deadline: string },
  context: CommandContext,
): Promise<number> {
  const { data, terminal, clock, signal } = context
  const seconds = numberOption('--deadline', options.deadline, { above: 0, unit: 'seconds' })
  const access = requireControl(data.control())
  let status = await askPeer<DrainStatus>(access, '/v0/drain', { deadlineMs: 1000 * seconds }, signal)
  while (!status.isDone) {
    tell(status, context)
    await sleep(clock, ASK_EVERY_MS, signal)
    const next = await askAgain(() => askPeer<DrainStatus>(access, '/v0/drain', undefined, signal))
    if (next === undefined) break
    status = next
  }
  terminal.event({ event: 'drained', onlyHere: status.onlyHere })
  terminal.note('The peer has shut down.')
  for (const contextId of status.onlyHere) {
    terminal.note(
      paint(
        'yellow',
        `No other peer has context ${contextId}. Jobs that need it wait until you run "hearth up" here again`,
      ),
    )
  }
  return EXIT.ok
}

/** Undefined when the peer has stopped. */
async function askAgain(ask: () => Promise<DrainStatus>): Promise<DrainStatus | undefined> {
  try {
    return await ask()
  } catch (error) {
    if (isHearthError(error, 'peer-unreachable')) return undefined
    throw error
  }
}

function tell(status: DrainStatus, { terminal }: CommandContext): void {
  const { running, handingOver, onlyHere, leftMs } = status
  terminal.event({ event: 'draining', ...status })
  const parts = [
    `${running} requests running`,
    `${handingOver.length} contexts being copied to other peers`,
    `${onlyHere.length} contexts only here`,
    `at most ${formatDuration(leftMs)} left`,
  ]
  if (terminal.isInteractive) terminal.redraw([`Shutting down: ${parts.join(', ')}`])
}
