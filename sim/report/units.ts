/** A unit that figures are written in, and how many of the base unit it is. */
export interface Unit {
  label: string
  size: number
}

const TIMES: readonly Unit[] = [
  { label: 'days', size: 86_400 },
  { label: 'hours', size: 3_600 },
  { label: 'minutes', size: 60 },
  { label: 's', size: 1 },
]
const BYTES: readonly Unit[] = [
  { label: 'TB', size: 1e12 },
  { label: 'GB', size: 1e9 },
  { label: 'MB', size: 1e6 },
  { label: 'kB', size: 1e3 },
  { label: 'bytes', size: 1 },
]

/** The unit in which the largest of some times is a number with at least one digit and a half before its point. */
export function timeUnit(seconds: number): Unit {
  return fitting(TIMES, seconds / 3)
}

export function byteUnit(bytes: number): Unit {
  return fitting(BYTES, bytes)
}

/** 953 → "15.9 minutes"; give or take 60 → "15.9 ± 1.00 minutes". */
export function formatTime(seconds: number, giveOrTake: number = Infinity): string {
  const unit = timeUnit(seconds)
  if (!Number.isFinite(giveOrTake)) return format(seconds, unit)
  return `${formatNumber(seconds / unit.size)} ± ${format(giveOrTake, unit)}`
}

export function formatBytes(bytes: number): string {
  return format(bytes, byteUnit(bytes))
}

export function formatShare(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}

/** With thousands set apart, and no more digits than mean something. */
export function formatNumber(value: number): string {
  if (Math.abs(value) < 100 && !Number.isInteger(value)) return value.toPrecision(3)
  return value.toFixed(0).replace(/\B(?=(\d{3})+$)/g, '\u202F')
}

function format(value: number, unit: Unit): string {
  return `${formatNumber(value / unit.size)} ${unit.label}`
}

function fitting(units: readonly Unit[], value: number): Unit {
  return units.find(({ size }) => value >= size) ?? units.at(-1) ?? { label: '', size: 1 }
}
