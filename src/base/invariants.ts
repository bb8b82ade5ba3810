/**
 * Checks that a core's state is possible, whatever the order of events. Each step machine has a `check…(state)` beside
 * it, which runs after every step in tests, in small simulations and in chaos runs. Peers of a real swarm skip it:
 * a check walks the whole state, where a step looks up a few places of it.
 */
import { HearthError } from './errors.ts'

let isChecking = false

/** Sets whether cores check their state after every step, in this thread. Entry points call it once; cores never do. */
export function checkAfterSteps(isOn: boolean): void {
  isChecking = isOn
}

/** Whether cores check their state after every step. */
export function areStepsChecked(): boolean {
  return isChecking
}

/** Whether the environment asks for checks: `HEARTH_CHECK=1` does, `HEARTH_CHECK=0` refuses them. */
export function checksAskedFor({
  HEARTH_CHECK,
}: Readonly<Record<string, string | undefined>>): boolean | undefined {
  if (HEARTH_CHECK === undefined || HEARTH_CHECK === '') return undefined
  if (HEARTH_CHECK === '1' || HEARTH_CHECK === '0') return HEARTH_CHECK === '1'
  throw new HearthError(
    'usage',
    `HEARTH_CHECK must be 1 (check every step) or 0 (check none), got "${HEARTH_CHECK}"`,
  )
}

/** Entries of a state that a check may walk for each step. */
const WALKED_PER_STEP = 64

/**
 * Whether a state with so many entries is checked after this step. A small one is checked after every step, a
 * large one after several: so a check slows each step down by no more, however large the state is.
 */
export function isCheckDue(state: { uncheckedSteps: number }, entries: number): boolean {
  if (!isChecking) return false
  state.uncheckedSteps += 1
  if (state.uncheckedSteps * WALKED_PER_STEP < entries) return false
  state.uncheckedSteps = 0
  return true
}

/** An error for a state that cannot be: a defect of Hearth. `what` names the invariant, `values` what broke it. */
export function impossible(what: string, values: Readonly<Record<string, unknown>> = {}): HearthError {
  const told = Object.entries(values).map(([name, value]) => `${name}=${String(value)}`)
  return new HearthError('internal', told.length === 0 ? what : `${what} (${told.join(', ')})`, {
    data: { invariant: what, ...values },
  })
}

/** Throws `internal`, naming the invariant and the values, unless it holds. */
export function invariant(
  holds: boolean,
  what: string,
  values: Readonly<Record<string, unknown>> = {},
): asserts holds {
  if (!holds) throw impossible(what, values)
}

/** `value`, which is always there: throws `internal` when it is not. */
export function present<Value>(
  value: Value | undefined,
  what: string,
  values: Readonly<Record<string, unknown>> = {},
): Value {
  if (value === undefined) throw impossible(what, values)
  return value
}
