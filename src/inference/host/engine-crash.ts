// The error of a run whose process ended under it: it says whether the run can have been the cause.
import { HearthError } from '../../base/errors.ts'

export class EngineCrash extends HearthError {
  /** Runs that the process had when it ended, this one among them; 0 when this run had not reached it. */
  readonly suspects: number

  constructor(message: string, suspects: number, cause: unknown) {
    super('engine-failed', message, { cause })
    this.suspects = suspects
  }
}
