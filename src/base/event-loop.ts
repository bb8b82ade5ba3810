/** Calls `run` once the event loop has looked at every socket and file that is ready by now. */
export function onNextTurn(run: () => void): void {
  setImmediate(run)
}

/** Resolves then. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}
