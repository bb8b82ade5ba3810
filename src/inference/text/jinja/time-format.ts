// `strftime` in UTC: peers of one swarm stand in different time zones, and the same line should have one prompt.
import { TemplateError } from './values/values.ts'

const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
)
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')
const DAY_MS = 86_400_000

interface CivilTime {
  year: number
  /** 1 to 12 */
  month: number
  day: number
  /** 0 is Sunday. */
  weekday: number
  /** 1 to 366 */
  dayOfYear: number
  hour: number
  minute: number
  second: number
}

/** @param wallMs Unix time */
export function formatTime(format: string, wallMs: number): string {
  const time = civilTime(wallMs)
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, bare: string, code: string) => {
    const value = field(code, time)
    if (value === undefined) throw new TemplateError(`strftime_now: "${whole}" is not supported`)
    return bare === '-' ? value.replace(/^0+(?=\d)/, '') : value
  })
}

function field(code: string, time: CivilTime): string | undefined {
  const two = (value: number): string => String(value).padStart(2, '0')
  const hour12 = time.hour % 12 === 0 ? 12 : time.hour % 12
  const fields: Record<string, () => string> = {
    a: () => (DAYS[time.weekday] ?? '').slice(0, 3),
    A: () => DAYS[time.weekday] ?? '',
    b: () => (MONTHS[time.month - 1] ?? '').slice(0, 3),
    B: () => MONTHS[time.month - 1] ?? '',
    d: () => two(time.day),
    D: () => `${two(time.month)}/${two(time.day)}/${two(time.year % 100)}`,
    e: () => String(time.day).padStart(2, ' '),
    F: () => `${time.year}-${two(time.month)}-${two(time.day)}`,
    h: () => (MONTHS[time.month - 1] ?? '').slice(0, 3),
    H: () => two(time.hour),
    I: () => two(hour12),
    j: () => String(time.dayOfYear).padStart(3, '0'),
    m: () => two(time.month),
    M: () => two(time.minute),
    p: () => (time.hour < 12 ? 'AM' : 'PM'),
    S: () => two(time.second),
    T: () => `${two(time.hour)}:${two(time.minute)}:${two(time.second)}`,
    w: () => String(time.weekday),
    y: () => two(time.year % 100),
    Y: () => String(time.year),
    Z: () => 'UTC',
    z: () => '+0000',
    '%': () => '%',
  }
  return fields[code]?.()
}

/** Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is their last. */
function civilTime(wallMs: number): CivilTime {
  const days = Math.floor(wallMs / DAY_MS)
  const seconds = Math.floor((wallMs - days * DAY_MS) / 1_000)
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1_460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  )
  const dayFromMarch = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const monthFromMarch = Math.floor((5 * dayFromMarch + 2) / 153)
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  const day = dayFromMarch - Math.floor((153 * monthFromMarch + 2) / 5) + 1
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  const beforeMarch = isLeap ? 60 : 59
  const dayOfYear = month <= 2 ? dayFromMarch - 305 : dayFromMarch + beforeMarch + 1
  return {
    year,
    month,
    day,
    weekday: (((days + 4) % 7) + 7) % 7,
    dayOfYear,
    hour: Math.floor(seconds / 3_600),
    minute: Math.floor((seconds % 3_600) / 60),
    second: seconds % 60,
  }
}
