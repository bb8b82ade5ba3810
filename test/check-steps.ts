// Runs before every test file: cores check their state after every step.
import { checkAfterSteps } from '../src/base/invariants.ts'

checkAfterSteps(true)
