// Runs rows in one step and, when the step fails, in halves: only the row at fault fails in the end.
import { HearthError, messageOf } from '../../base/errors.ts'

/** A step whose kernels threw before it changed anything. */
class StepFailure extends Error {}

/** Runs a model's kernels; what they throw can be told from every other error. */
export async function runKernels<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    throw new StepFailure(messageOf(cause), { cause })
  }
}

/**
 * Carries out `step` on all rows. Where its kernels throw, halves of the rows run apart, down to single ones.
 * A row that throws alone is given to `blame` if the model still runs a harmless input; else this throws.
 */
export async function runApart<Row>(
  rows: readonly Row[],
  step: (rows: readonly Row[]) => Promise<void>,
  { probe, blame }: { probe: () => Promise<unknown>; blame: (row: Row, error: HearthError) => void },
): Promise<void> {
  try {
    await step(rows)
  } catch (error) {
    if (!(error instanceof StepFailure)) throw error
    const [only] = rows
    if (only !== undefined && rows.length === 1) {
      await probe()
      const why = `the model cannot compute this request: ${error.message}`
      return blame(only, new HearthError('request-invalid', why, { cause: error }))
    }
    const half = Math.ceil(rows.length / 2)
    await runApart(rows.slice(0, half), step, { probe, blame })
    await runApart(rows.slice(half), step, { probe, blame })
  }
}
