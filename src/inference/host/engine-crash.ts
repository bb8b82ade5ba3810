// The error of a run whose process ended under it: it says whether the run can have been the cause.
import { HearthError } from '../../base/errors.ts'

export class EngineCrash extends HearthError {
  /** Runs that the process had when it ended, this one among them; 0 when this run had not reached it. */
  readonly suspects: number
  /** Whether the process was killed, for its memory or because it hung, or ended before it had loaded. */
  readonly isKill: boolean

  constructor(message: string, suspects: number, { isKill, cause }: { isKill: boolean; cause?: unknown }) {
    super('engine-failed', message, { cause })
    this.suspects = suspects
    this.isKill = isKill
  }
}
