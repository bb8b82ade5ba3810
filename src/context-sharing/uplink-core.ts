/*
 * What this peer's uplink carries, measured while it is kept busy. The upload cap is a part of it, so
 * that the owner's own traffic has room. Under the cap nothing can be measured, so once a day the cap is
 * lifted for one measurement.
 */

/** Part of the measured uplink that uploads may take. */
export const UPLINK_SHARE = 0.7
/** What is sent first only fills the buffers on the way, ms. */
const WARM_UP_MS = 5000
const WINDOW_MS = 5000
const MEASURED_AGAIN_AFTER_MS: number = 24 * 3_600_000

export interface Uplink {
  bytesPerSecond: number | undefined
  measuredAtMs: number
  /** Since when somebody was always waiting for bytes; undefined while nobody is. */
  busySinceMs: number | undefined
  windowBytes: number
}

export function newUplink(): Uplink {
  return { bytesPerSecond: undefined, measuredAtMs: -Infinity, busySinceMs: undefined, windowBytes: 0 }
}

/** Whether anybody waits for bytes. Only an uplink that is kept busy shows what it carries. */
export function noteDemand(uplink: Uplink, isBusy: boolean, nowMs: number): void {
  if (!isBusy) uplink.busySinceMs = undefined
  else if (uplink.busySinceMs === undefined) {
    uplink.busySinceMs = nowMs
    uplink.windowBytes = 0
  }
}

/** Bytes were handed to the network. */
export function noteSent(uplink: Uplink, bytes: number, nowMs: number): void {
  if (uplink.busySinceMs === undefined || isMeasured(uplink, nowMs)) return
  const elapsedMs = nowMs - uplink.busySinceMs - WARM_UP_MS
  if (elapsedMs < 0) return
  uplink.windowBytes += bytes
  if (elapsedMs < WINDOW_MS) return
  uplink.bytesPerSecond = (uplink.windowBytes * 1000) / elapsedMs
  uplink.measuredAtMs = nowMs
  uplink.busySinceMs = undefined
}

/** The cap on uploads, bytes per second; undefined while it is being measured. */
export function capOf(uplink: Uplink, nowMs: number): number | undefined {
  return isMeasured(uplink, nowMs) && uplink.bytesPerSecond !== undefined
    ? uplink.bytesPerSecond * UPLINK_SHARE
    : undefined
}

function isMeasured(uplink: Uplink, nowMs: number): boolean {
  return nowMs - uplink.measuredAtMs < MEASURED_AGAIN_AFTER_MS
}
