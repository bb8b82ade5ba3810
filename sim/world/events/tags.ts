/** The tag of an event, for the hash of a run: kind × 2^20 + the number of its owner. */
export const TAG: Readonly<
  Record<'message' | 'timer' | 'churn' | 'job' | 'directory' | 'sample' | 'advert' | 'fault', number>
> = {
  message: 0x10_0000,
  timer: 0x20_0000,
  churn: 0x30_0000,
  job: 0x40_0000,
  directory: 0x50_0000,
  sample: 0x60_0000,
  advert: 0x70_0000,
  fault: 0x80_0000,
}
