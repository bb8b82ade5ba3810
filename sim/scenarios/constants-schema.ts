import { z } from 'zod'
import { REPLICATION_DEFAULTS } from '../../src/context-sharing/replication/core/replication.ts'
import type { CommitPaceOptions } from '../../src/tasks/journal/core/commit-pace.ts'
import { RESIDENCY_DEFAULTS } from '../../src/inference/residency/core/residency-state.ts'
import { COORDINATOR_DEFAULTS } from '../../src/tasks/submitter/core/coordinator-state.ts'
import { COMMIT_GROUP_MAX, COMMIT_SHARE, COMMIT_WAIT_MS_MAX } from '../../src/tasks/journal/timings.ts'
import { COORDINATOR_TICK_MS } from '../../src/tasks/submitter/timings.ts'
import { OPEN_MS } from '../../src/tasks/wire/timings.ts'
import { WORKER_CORE_DEFAULTS } from '../../src/tasks/worker/core/worker-state.ts'

/** The constants of the shell, tasks/coordinator.ts, that a run depends on. */
export const SHELL_DEFAULTS: Readonly<CommitPaceOptions & Record<'tickMs' | 'openMs', number>> = {
  tickMs: COORDINATOR_TICK_MS,
  commitShare: COMMIT_SHARE,
  commitWaitMsMax: COMMIT_WAIT_MS_MAX,
  commitGroupMax: COMMIT_GROUP_MAX,
  openMs: OPEN_MS,
}

type Constants = Record<string, number>

export const coordinatorConstants: z.ZodType<Constants> = constantsOf(COORDINATOR_DEFAULTS, SHELL_DEFAULTS)
export const workerConstants: z.ZodType<Constants> = constantsOf(WORKER_CORE_DEFAULTS)
export const residencyConstants: z.ZodType<Constants> = constantsOf(RESIDENCY_DEFAULTS)
export const replicationConstants: z.ZodType<Constants> = constantsOf(REPLICATION_DEFAULTS)

/** Numbers instead of those of a core, by their names there: one that is misspelt would change nothing. */
function constantsOf(...defaults: readonly object[]): z.ZodType<Constants> {
  const entries = defaults.flatMap((one) => Object.entries(one))
  const names = entries.filter(([, value]) => typeof value === 'number').map(([name]) => name)
  const known = `there are ${names.toSorted().join(', ')}`
  return z.record(z.string(), z.number()).superRefine((constants, context) => {
    for (const name of Object.keys(constants)) {
      if (!names.includes(name))
        context.addIssue({ code: 'custom', path: [name], message: `there is no such constant; ${known}` })
    }
  })
}
