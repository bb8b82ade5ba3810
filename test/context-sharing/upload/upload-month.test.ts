import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { StoreMemory } from '../../../src/context-sharing/store/store-memory.ts'
import {
  type Uplink,
  capOf,
  newUplink,
  noteDemand,
  noteSent,
  UPLINK_SHARE,
} from '../../../src/context-sharing/upload/core/uplink.ts'
import { UploadGate } from '../../../src/context-sharing/upload/upload-gate.ts'
import { UploadMonth } from '../../../src/context-sharing/upload/upload-month.ts'
import { Closers } from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const NOVEMBER = 1_795_478_027_000
const DECEMBER: number = NOVEMBER + 30 * 24 * 3_600_000

const clockAt = (wallMs: () => number): Clock => ({ nowMs: () => 0, wallMs, schedule: () => () => {} })

async function monthOf(
  path: string,
  limitBytes: number,
  wallMs: () => number = () => NOVEMBER,
): Promise<{ month: UploadMonth; grown: () => Promise<void> }> {
  const clock = clockAt(wallMs)
  const memory = new StoreMemory(clock, path)
  await memory.load()
  const month = new UploadMonth({ clock, memory, log: silentLogger }, limitBytes)
  const grown = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    month.onChange = resolve
    if (month.leftBytes === 0) await promise
  }
  return { month, grown }
}

describe('the bytes of a month', () => {
  it('are written down before they are sent: a crash counts too much, never too little', async () => {
    const path = join(await closers.temporaryFolder(), 'store.json')
    const { month, grown } = await monthOf(path, GIB)
    expect(month.leftBytes).toBe(0)
    await grown()
    expect(month.leftBytes).toBeGreaterThanOrEqual(32 * MIB)
    month.spend(20 * MIB)
    const { month: again } = await monthOf(path, GIB)
    expect(again.sentBytes).toBeGreaterThanOrEqual(20 * MIB)
    expect(again.sentBytes).toBeLessThanOrEqual(20 * MIB + 64 * MIB)
  })

  it('end at the limit, and begin anew with the next month', async () => {
    let wallMs = NOVEMBER
    const path = join(await closers.temporaryFolder(), 'store.json')
    const { month, grown } = await monthOf(path, 10 * MIB, () => wallMs)
    await grown()
    expect(month.leftBytes).toBe(10 * MIB)
    month.spend(9 * MIB + 1)
    expect(month.isSpent).toBe(true)
    wallMs = DECEMBER
    await grown()
    expect(month.isSpent).toBe(false)
    expect(month.leftBytes).toBe(10 * MIB)
  })

  it('are refused at the gate once they are spent', async () => {
    const path = join(await closers.temporaryFolder(), 'store.json')
    const { month } = await monthOf(path, 3 * MIB)
    const gate = new UploadGate({ clock: clockAt(() => NOVEMBER), month }, 'unlimited')
    const { signal } = new AbortController()
    const passages = []
    for (let chunk = 0; chunk < 4; chunk += 1) {
      const passage = await gate.pass('peer', 'normal', MIB, signal)
      if (passage.isGranted) passage.sent()
      passages.push(passage.isGranted ? 'granted' : passage.reason)
    }
    expect(passages).toEqual(['granted', 'granted', 'granted', 'month'])
  })

  it('need a memory that can be read', async () => {
    const path = join(await closers.temporaryFolder(), 'store.json')
    await writeFile(path, '{"version":1,"contexts":{"x":1}}')
    await expect(monthOf(path, GIB)).rejects.toMatchObject({
      code: 'data-corrupt',
      message: expect.stringContaining('delete the file'),
    })
    expect(await readFile(path, 'utf8')).toContain('"x"')
  })
})

describe('a peer that waits at the gate', () => {
  it('and goes away is not served, and keeps nobody from it', async () => {
    const gate = new UploadGate({ clock: clockAt(() => 0) }, MIB)
    const gone = new AbortController()
    const first = await gate.pass('a', 'normal', MIB, gone.signal)
    expect(first.isGranted).toBe(true)
    const waiting = gate.pass('b', 'normal', MIB, gone.signal)
    gone.abort()
    expect(await waiting).toMatchObject({ isGranted: false })
    if (first.isGranted) first.refund()
    expect((await gate.pass('c', 'normal', MIB, new AbortController().signal)).isGranted).toBe(true)
    gate.stop()
  })
})

describe('the uplink', () => {
  /** One downloader that asks again as soon as it was sent a tenth of a second's bytes. */
  const send = (uplink: Uplink, fromMs: number, forMs: number, bytesPerSecond: number): void => {
    for (let ms = fromMs; ms < fromMs + forMs; ms += 100) {
      noteDemand(uplink, true, ms)
      noteSent(uplink, bytesPerSecond / 10, ms)
      noteDemand(uplink, false, ms + 1)
    }
  }
  const measured = (uplink: Uplink, nowMs: number): number =>
    (capOf(uplink, nowMs) ?? Number.NaN) / (MIB * UPLINK_SHARE)

  it('is measured once it was kept busy for long enough; the cap is a part of that', () => {
    const uplink = newUplink()
    send(uplink, 0, 9000, MIB)
    expect(capOf(uplink, 9000)).toBeUndefined()
    send(uplink, 9000, 5000, MIB)
    expect(measured(uplink, 14_000)).toBeCloseTo(1, 1)
  })

  it('is not measured by what is sent in between pauses, which only fills buffers', () => {
    const uplink = newUplink()
    for (let fromMs = 0; fromMs < 60_000; fromMs += 6000) send(uplink, fromMs, 5000, 100 * MIB)
    expect(capOf(uplink, 60_000)).toBeUndefined()
  })

  it('is measured again every ten minutes; a slow receiver does not lower it within a day', () => {
    const uplink = newUplink()
    send(uplink, 0, 15_000, 10 * MIB)
    expect(measured(uplink, 300_000)).toBeCloseTo(10, 0)
    expect(capOf(uplink, 700_000)).toBeUndefined()
    send(uplink, 700_000, 15_000, MIB)
    expect(measured(uplink, 715_000)).toBeCloseTo(10, 0)
    send(uplink, 1_400_000, 15_000, 20 * MIB)
    expect(measured(uplink, 1_415_000)).toBeCloseTo(20, 0)
    const nextDayMs = 26 * 3_600_000
    send(uplink, nextDayMs, 15_000, MIB)
    expect(measured(uplink, nextDayMs + 15_000)).toBeCloseTo(1, 0)
  })
})
