import type { NumberBounds } from '../../base/number-option.ts'

export type BoundedSetting =
  | 'max_tokens'
  | 'temperature'
  | 'top_p'
  | 'top_k'
  | 'min_p'
  | 'seed'
  | 'repetition_penalty'
  | 'presence_penalty'
  | 'frequency_penalty'

/** The numbers that each sampling setting takes, in a request's body and as an option of a whole job. */
export const REQUEST_BOUNDS: Readonly<Record<BoundedSetting, NumberBounds>> = {
  max_tokens: { isWhole: true, least: 1 },
  temperature: { least: 0, most: 100 },
  top_p: { above: 0, most: 1 },
  top_k: { isWhole: true, least: -1 },
  min_p: { least: 0, most: 1 },
  seed: { isWhole: true },
  repetition_penalty: { above: 0, most: 100 },
  presence_penalty: { least: -2, most: 2 },
  frequency_penalty: { least: -2, most: 2 },
}

export const STOP_STRINGS_MAX = 16
export const STOP_STRING_CHARACTERS_MAX = 256
