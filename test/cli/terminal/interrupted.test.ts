import { afterEach, describe, expect, test, vi } from 'vitest'
import { HearthError } from '../../../src/base/errors.ts'
import { runCommand } from '../../../src/cli/terminal/command-context.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

afterEach(() => {
  process.exitCode = undefined
  vi.restoreAllMocks()
})

/** Runs a command that fails with `error` because of a signal; returns its exit status and what it printed. */
async function interrupted(
  signal: NodeJS.Signals,
  error: Error,
): Promise<{ status: unknown; printed: string }> {
  const printed: string[] = []
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => printed.push(String(text)) > 0)
  await runCommand({ data: temporaryFolder('interrupted') }, async (context) => {
    process.emit(signal, signal)
    expect(context.signal.aborted).toBe(true)
    throw error
  })
  return { status: process.exitCode, printed: printed.join('') }
}

describe('Ctrl-C', () => {
  test.each([
    new TypeError('terminated'),
    new DOMException('This operation was aborted', 'AbortError'),
    new HearthError('stream-closed', 'the peer is stopping'),
    new HearthError('internal', 'a promise was left'),
    new HearthError('peer-unreachable', 'the local peer does not answer'),
  ])('is no error of the command, whatever fails by it: %s', async (error) => {
    expect(await interrupted('SIGINT', error)).toEqual({ status: 130, printed: '' })
    expect(await interrupted('SIGTERM', error)).toEqual({ status: 0, printed: '' })
  })

  test('hides no error of the disk', async () => {
    const end = await interrupted('SIGINT', new HearthError('disk-full', 'the disk is full'))
    expect(end).toMatchObject({ status: 9, printed: expect.stringContaining('the disk is full') })
  })
})
