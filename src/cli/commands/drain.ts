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

/** `hearth drain`: has the running peer leave in peace, and follows it until it is gone. */
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
  terminal.note('the peer has left')
  for (const contextId of status.onlyHere) {
    terminal.note(
      paint('yellow', `no other peer has context ${contextId}: jobs on it wait until this one is back`),
    )
  }
  return EXIT.ok
}

/** Undefined when the peer is gone: it had nothing more to say. */
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
    `${running} requests run`,
    `${handingOver.length} contexts are being handed over`,
    `${onlyHere.length} are only here`,
    `at most ${formatDuration(leftMs)} left`,
  ]
  if (terminal.isInteractive) terminal.redraw([`leaving: ${parts.join(', ')}`])
}
