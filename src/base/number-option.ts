import { HearthError } from './errors.ts'

/** The numbers that an option takes. */
export interface NumberBounds {
  isWhole?: boolean
  /** The smallest and the largest number, both included. */
  least?: number
  most?: number
  /** The number must be larger than this one. */
  above?: number
  /** The unit of the number, such as "seconds". */
  unit?: string
}

/** Reads a number from text, as on a command line. Throws `usage` with the option and the numbers it takes. */
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
