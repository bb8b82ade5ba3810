import { HearthError } from '../../base/errors.ts'
import { numberOption } from '../../base/number-option.ts'
import type { KeepFree } from '../../context-sharing/store/store-memory.ts'
import type { StoreBounds } from '../../context-sharing/store/store-room.ts'
import type { UploadRate } from '../../context-sharing/upload/upload-gate.ts'

/** Options of `hearth up` that limit disk and uplink use of contexts. */
export interface StoreCommandOptions {
  storeQuota?: string
  keepFree?: string
  keepJobs?: string
  uploadRate?: string
  uploadMonth?: string
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
}

export function boundsOf({ storeQuota, keepFree }: StoreCommandOptions): StoreBounds {
  return {
    quotaBytes: storeQuota === undefined ? undefined : bytesOf('--store-quota', storeQuota),
    keepFree: keepFree === undefined ? undefined : keepFreeOf(keepFree),
  }
}

/** How long finished jobs are kept, to be remembered; nothing when the option is absent. Throws `usage`. */
export function keepJobsOf({ keepJobs }: StoreCommandOptions): { keepJobsDays?: number | 'forever' } {
  if (keepJobs === undefined) return {}
  if (keepJobs === 'forever') return { keepJobsDays: keepJobs }
  return { keepJobsDays: numberOption('--keep-jobs', keepJobs, { above: 0, unit: 'days' }) }
}

export function uploadOf({ uploadRate, uploadMonth }: StoreCommandOptions): {
  uploadRate: UploadRate
  uploadMonthBytes: number | undefined
} {
  return {
    uploadRate: rateOf(uploadRate),
    uploadMonthBytes: uploadMonth === undefined ? undefined : bytesOf('--upload-month', uploadMonth),
  }
}

/** "50GB" → 50,000,000,000; "50GiB" → 50 · 1024³. Throws `usage`. */
export function bytesOf(name: string, text: string): number {
  const [, number = '', unit = ''] = /^([0-9]+(?:\.[0-9]+)?) *([a-zA-Z]*)$/.exec(text) ?? []
  const scale = UNITS[unit.toLowerCase()]
  if (number !== '' && scale !== undefined) return Math.floor(Number(number) * scale)
  throw new HearthError(
    'usage',
    `${name} is "${text}", but must be bytes with a unit, such as 50GB or 512MiB`,
  )
}

function keepFreeOf(text: string): KeepFree {
  const [, percent] = /^([0-9]+(?:\.[0-9]+)?) *%$/.exec(text) ?? []
  if (percent === undefined) return { bytes: bytesOf('--keep-free', text) }
  if (Number(percent) <= 100) return { share: Number(percent) / 100 }
  throw new HearthError(
    'usage',
    `--keep-free is "${text}", but must be bytes such as 10GB, or a share of the disk such as 5%`,
  )
}

function rateOf(text: string | undefined): UploadRate {
  if (text === undefined) return 'measured'
  if (text === 'unlimited') return 'unlimited'
  const rate = bytesOf('--upload-rate', text.replace(/\/s$/, ''))
  if (rate > 0) return rate
  throw new HearthError(
    'usage',
    '--upload-rate must be above 0 bytes per second, such as 5MB, or "unlimited". To send nothing, leave the peer stopped',
  )
}
