/*
 * Measures this peer's uplink while it is busy. The upload cap is a share of the uplink, so
 * that the owner's own traffic has room. Under the cap nothing can be measured, so it is lifted now and
 * then for one measurement. The most that was measured within a day counts: a slow receiver shows less
 * than the uplink carries, and never more.
 */

/** Part of the measured uplink that uploads may take. */
export const UPLINK_SHARE = 0.7
/** The first bytes only fill buffers on the way, ms. */
const WARM_UP_MS = 5000
/** A measurement takes so long, ms, and so many bytes: one chunk more or less is an eighth of them. */
const WINDOW_MS_MIN = 5000
const WINDOW_BYTES_MIN: number = 8 * 1024 * 1024
/** Between one chunk and the next nobody asks for a moment; only a longer pause leaves the uplink idle, ms. */
const PAUSE_MS_MAX = 250
const MEASURED_AGAIN_AFTER_MS = 600_000
const FORGOTTEN_AFTER_MS: number = 24 * 3_600_000

export interface Uplink {
  /** The most that was measured, and when. */
  bytesPerSecond: number | undefined
  mostAtMs: number
  measuredAtMs: number
  /** Since when somebody was always waiting for bytes. */
  busySinceMs: number | undefined
  /** Since when nobody is; undefined while somebody is. */
  idleSinceMs: number | undefined
  windowBytes: number
}

export function newUplink(): Uplink {
  return {
    bytesPerSecond: undefined,
    mostAtMs: -Infinity,
    measuredAtMs: -Infinity,
    busySinceMs: undefined,
    idleSinceMs: undefined,
    windowBytes: 0,
  }
}

/** Whether a peer waits for bytes. Only a busy uplink shows its capacity. */
export function noteDemand(uplink: Uplink, isBusy: boolean, nowMs: number): void {
  if (!isBusy) {
    uplink.idleSinceMs ??= nowMs
    return
  }
  const hasPaused = uplink.idleSinceMs !== undefined && nowMs - uplink.idleSinceMs > PAUSE_MS_MAX
  uplink.idleSinceMs = undefined
  if (uplink.busySinceMs === undefined || hasPaused) {
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
  if (elapsedMs < WINDOW_MS_MIN || uplink.windowBytes < WINDOW_BYTES_MIN) return
  takeIn(uplink, (uplink.windowBytes * 1000) / elapsedMs, nowMs)
}

function takeIn(uplink: Uplink, bytesPerSecond: number, nowMs: number): void {
  uplink.measuredAtMs = nowMs
  uplink.busySinceMs = undefined
  const isForgotten = nowMs - uplink.mostAtMs > FORGOTTEN_AFTER_MS
  if (!isForgotten && bytesPerSecond < (uplink.bytesPerSecond ?? 0)) return
  uplink.bytesPerSecond = bytesPerSecond
  uplink.mostAtMs = nowMs
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
