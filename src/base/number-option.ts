import { HearthError } from './errors.ts'

/** What a number given as text may be. */
export interface NumberBounds {
  isWhole?: boolean
  /** The smallest and the largest that are taken. */
  least?: number
  most?: number
  /** The number must be larger than this one. */
  above?: number
  /** What the number counts, as "seconds". */
  unit?: string
}

/** Reads a number given as text, as on a command line. Throws `usage`, naming the option and what it takes. */
export function numberOption(name: string, text: string, bounds: NumberBounds): number {
  const value = Number(text)
  if (text.trim() !== '' && isWithin(value, bounds)) return value
  throw new HearthError('usage', `${name} takes ${describe(bounds)}, not "${text}"`)
}

function isWithin(value: number, { isWhole, least, most, above }: NumberBounds): boolean {
  return (
    (isWhole === true ? Number.isSafeInteger(value) : Number.isFinite(value)) &&
    (least === undefined || value >= least) &&
    (most === undefined || value <= most) &&
    (above === undefined || value > above)
  )
}

function describe({ isWhole, least, most, above, unit }: NumberBounds): string {
  return [
    `a ${isWhole === true ? 'whole ' : ''}number`,
    ...(unit === undefined ? [] : [`of ${unit}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(least === undefined ? [] : [`from ${least}`]),
    ...(most === undefined ? [] : [least === undefined ? `up to ${most}` : `to ${most}`]),
  ].join(' ')
}
