/** Where time comes from. Everything but the adapter `system-clock.ts` gets its time through this. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start. For durations, deadlines and leases. */
  nowMs(): number
  /** Milliseconds since the Unix epoch. Only for what people or other machines read. */
  wallMs(): number
  /** Calls `run` once after `delayMs`; the returned function cancels it. Never keeps a process alive by itself when `background`. */
  schedule(delayMs: number, run: () => void, options?: { background?: boolean }): Cancel
}

export type Cancel = () => void

/** Resolves after `delayMs`; rejects with the signal's reason when it is aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error)
      return
    }
    const onAbort = (): void => {
      cancel()
      reject(signal?.reason as Error)
    }
    const cancel = clock.schedule(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** Calls `run` every `periodMs` until cancelled; keeps no process alive, unless told so. A run that throws is the caller's bug, and is not caught. */
export function every(
  clock: Clock,
  periodMs: number,
  run: () => void,
  options: { background: boolean } = { background: true },
): Cancel {
  let cancelNext: Cancel = () => {}
  const again = (): void => {
    cancelNext = clock.schedule(
      periodMs,
      () => {
        again()
        run()
      },
      options,
    )
  }
  again()
  return () => cancelNext()
}
