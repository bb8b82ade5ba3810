import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Cancel, Clock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log/logger.ts'
import { ShutdownNotice } from '../../src/node/shutdown-notice.ts'
import { until } from '../../testing/libp2p-swarm.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

/** A clock that is advanced by hand. */
function handClock(): { clock: Clock; next: () => void } {
  const waiting = new Set<() => void>()
  const schedule = (_delayMs: number, run: () => void): Cancel => {
    waiting.add(run)
    return () => waiting.delete(run)
  }
  return {
    clock: { nowMs: () => 0, wallMs: () => 0, schedule },
    next() {
      const due = [...waiting]
      waiting.clear()
      for (const run of due) run()
    },
  }
}

test('the command is run again until it says that the machine goes; what it prints are the seconds left', async () => {
  const folder = temporaryFolder('notice')
  const flag = join(folder, 'going')
  const runs = join(folder, 'runs')
  const { clock, next } = handClock()
  const notices: number[] = []
  const notice = new ShutdownNotice(
    { clock, log: silentLogger },
    `echo x >> ${runs}; test -e ${flag} && echo 120`,
    (leftMs) => notices.push(leftMs),
  )
  await notice.start()
  expect(notices).toEqual([])
  expect(existsSync(runs)).toBe(true)
  writeFileSync(flag, '')
  next()
  await until('the notice', () => notices.length > 0)
  // Two seconds are kept back for stopping.
  expect(notices).toEqual([118_000])
  next()
  expect(notices).toHaveLength(1)
})

test('one that says so at once, without a number, means half a minute', async () => {
  const notices: number[] = []
  const notice = new ShutdownNotice({ clock: handClock().clock, log: silentLogger }, 'true', (leftMs) =>
    notices.push(leftMs),
  )
  await notice.start()
  expect(notices).toEqual([28_000])
})

test('a command that does not exist is refused when the peer starts, and not taken for "no"', async () => {
  const notice = new ShutdownNotice(
    { clock: handClock().clock, log: silentLogger },
    'no-such-command-here',
    () => {},
  )
  await expect(notice.start()).rejects.toMatchObject({ code: 'config-invalid' })
})
