/**
 * `work`, or the signal's reason as soon as the signal is aborted. The work itself goes on: what it gives
 * after that is handed to `release`, which must not throw, and how it fails after that is of no interest.
 */
export async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  release: (late: T) => void = () => {},
): Promise<T> {
  if (signal === undefined) return await work
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason as Error)
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([aborted.promise, work])
  } catch (error) {
    work.then(release, () => {})
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
