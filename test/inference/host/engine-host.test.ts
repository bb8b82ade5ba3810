import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import type { EngineRequest } from '../../../src/inference/contract/engine.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import type { EngineHostOptions } from '../../../src/inference/host/engine-host-options.ts'

const PARENT = join(import.meta.dirname, '../../../testing/engine-host-parent.ts')
const hosts: EngineHost[] = []

function makeHost(options: Partial<EngineHostOptions> = {}): EngineHost {
  const host = new EngineHost(
    { clock: systemClock, log: silentLogger },
    { folder: '/nowhere', engine: 'fake', heartbeatMs: 50, ...options },
  )
  hosts.push(host)
  return host
}

const complete = (prompt: string): EngineRequest => ({
  url: '/v1/completions',
  body: { prompt, max_tokens: 4 },
})

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop()))
})

test('a host loads its context once and answers each request on its own', async () => {
  const host = makeHost({ slots: 3 })
  const [facts, same] = await Promise.all([host.start(), host.start()])
  expect(same).toBe(facts)
  expect(facts).toMatchObject({ slots: 3, engine: 'fake', numericClass: 'fake/1' })
  expect(facts.loadMs).toBeGreaterThan(0)
  const results = await Promise.all(
    Array.from({ length: 40 }, (_, index) => host.run(complete(`p${index % 20}`))),
  )
  expect(results.every((result) => result.ok)).toBe(true)
  expect(results[3]).toEqual(results[23])
  expect(results[3]).not.toEqual(results[4])
})

test('a refused request is a result, and the context stays loaded', async () => {
  const host = makeHost()
  await host.start()
  const pid = host.pid
  expect(await host.run(complete('!bad'))).toMatchObject({
    ok: false,
    statusCode: 400,
    error: { code: 'request-invalid' },
  })
  expect(await host.run({ url: '/v1/completions', body: 7 })).toMatchObject({ ok: false, statusCode: 400 })
  expect(await host.run(complete('fine'))).toMatchObject({ ok: true })
  expect(host.pid).toBe(pid)
})

test('a request that is too deep to be handed over is refused alone, and its slot is free', async () => {
  const host = makeHost({ slots: 1 })
  await host.start()
  let deep: unknown = 'prompt'
  for (let level = 0; level < 100_000; level += 1) deep = [deep]
  const refused = await Promise.all(
    [1, 2, 3].map(() => host.run({ url: '/v1/completions', body: { prompt: deep } })),
  )
  for (const result of refused)
    expect(result).toMatchObject({ ok: false, error: { code: 'request-invalid' } })
  expect(await host.run(complete('after'))).toMatchObject({ ok: true })
})

test('a host tells that the engine got on with a request', async () => {
  const host = makeHost({ fake: { prefillMs: 300 } })
  await host.start()
  let progress = 0
  await host.run(complete('slow'), { onProgress: () => void (progress += 1) })
  expect(progress).toBeGreaterThan(0)
})

test('a process that dies of a run alone fails it, says why, and the next run starts another', async () => {
  const host = makeHost()
  const exits: unknown[] = []
  host.onExit((exit) => exits.push(exit))
  await host.start()
  const pid = host.pid
  await expect(host.run(complete('!crash'))).rejects.toMatchObject({
    code: 'engine-failed',
    message: 'the engine process ended with code 139',
  })
  expect(await host.run(complete('after'))).toMatchObject({ ok: true })
  expect(host.pid).not.toBe(pid)
  expect(exits).toEqual([{ reason: 'the engine process ended with code 139', isExpected: false }])
})

test('runs that only shared a process that crashed are answered; the culprits fail', async () => {
  const host = makeHost({ slots: 4, fake: { tokenMs: 5 } })
  await host.start()
  const prompts = ['a', '!crash', 'b', 'c', 'd', '!crash', 'e', 'f', 'g', 'h', 'i', 'j']
  const late = ['k', 'l']
  const runs = prompts.map((prompt) => host.run(complete(prompt)))
  await Promise.race(runs.map((run) => run.catch(() => {})))
  const all = await Promise.allSettled([...runs, ...late.map((prompt) => host.run(complete(prompt)))])
  for (const [index, prompt] of [...prompts, ...late].entries()) {
    const expected = prompt === '!crash' ? { reason: { code: 'engine-failed' } } : { value: { ok: true } }
    expect(all[index], prompt).toMatchObject(expected)
  }
})

test.runIf(process.platform === 'linux')(
  'the process dies before its peer when memory is short',
  async () => {
    const host = makeHost()
    await host.start()
    expect(await readFile(`/proc/${host.pid}/oom_score_adj`, 'utf8')).toBe('500\n')
  },
)

test('a suspect that is no longer wanted does not hold up the others', async () => {
  const host = makeHost({ slots: 4, fake: { tokenMs: 20 } })
  await host.start()
  const unwanted = new AbortController()
  let exits = 0
  host.onExit(() => {
    exits += 1
    unwanted.abort(new Error('unwanted'))
  })
  const runs = [host.run(complete('a'), unwanted), host.run(complete('!crash')), host.run(complete('b'))]
  const [aborted, crashed, mate] = await Promise.allSettled(runs)
  expect(aborted).toMatchObject({ reason: { message: 'unwanted' } })
  expect(crashed).toMatchObject({ reason: { code: 'engine-failed' } })
  expect(mate).toMatchObject({ value: { ok: true } })
  expect(exits).toBe(2)
})

test('a process that hangs is killed, and its requests fail with the deadline that passed', async () => {
  const host = makeHost({ silenceMsMax: 300 })
  await host.start()
  const pid = host.pid as number
  await expect(host.run(complete('!hang'))).rejects.toMatchObject({
    code: 'engine-failed',
    message: 'the engine process was silent for 300 ms',
  })
  expect(await host.run(complete('after'))).toMatchObject({ ok: true })
  expect(isRunning(pid)).toBe(false)
})

test('a run over its bound kills the process though its heart beats', async () => {
  const host = makeHost({ runMsMax: 200, fake: { prefillMs: 60_000 } })
  await expect(host.run(complete('slow'))).rejects.toMatchObject({ code: 'engine-failed' })
  await host.start()
  await expect(host.run(complete('slow'))).rejects.toThrow('a run took longer than 200 ms')
})

test('a load over its bound is given up', async () => {
  const host = makeHost({ loadMsMax: 300, fake: { loadMs: 60_000 } })
  await expect(host.start()).rejects.toMatchObject({
    code: 'engine-failed',
    message: 'loading took longer than 300 ms',
  })
})

test('a process over its memory bound is killed', async () => {
  const host = makeHost({ residentBytesMax: 1, fake: { prefillMs: 60_000 } })
  const run = host.start().then(() => host.run(complete('slow')))
  await expect(run).rejects.toThrow(/more memory than its limit|over its limit of 1/)
})

test('a cancelled run frees its slot', async () => {
  const host = makeHost({ slots: 1, fake: { prefillMs: 60_000 } })
  await host.start()
  const cancel = new AbortController()
  const runs = Array.from({ length: 5 }, (_, index) => host.run(complete(`p${index}`), cancel))
  cancel.abort(new Error('no longer wanted'))
  for (const run of await Promise.allSettled(runs)) {
    expect(run).toMatchObject({ reason: { message: 'no longer wanted' } })
  }
  const second = new AbortController()
  const late = host.run(complete('late'), second)
  await new Promise((resolve) => setTimeout(resolve, 100))
  second.abort(new Error('seen'))
  await expect(late).rejects.toThrow('seen')
})

test('stop ends the process and what it ran; start works again', async () => {
  const host = makeHost({ fake: { prefillMs: 60_000 } })
  const exits: unknown[] = []
  host.onExit((exit) => exits.push(exit))
  await host.start()
  const pid = host.pid as number
  const run = host.run(complete('slow'))
  const failed = expect(run).rejects.toMatchObject({ code: 'engine-failed' })
  await Promise.all([host.stop(), failed])
  expect(isRunning(pid)).toBe(false)
  expect(exits).toEqual([{ reason: 'the engine host is stopped', isExpected: true }])
  await expect(host.run(complete('late'))).rejects.toThrow('stopped')
  await host.start()
  expect(host.pid).not.toBe(pid)
})

test('a quick start answers at once, then a second process takes over without losing a run', async () => {
  const host = makeHost({ quickStart: true, fake: { loadMs: 300, tokenMs: 30 } })
  await host.start()
  const quick = host.pid as number
  const early = host.run(complete('early'))
  const late = expect.poll(() => host.pid, { timeout: 5_000 }).not.toBe(quick)
  expect(await early).toMatchObject({ ok: true })
  await late
  expect(await host.run(complete('late'))).toMatchObject({ ok: true })
  await expect.poll(() => isRunning(quick)).toBe(false)
})

test('stop during a quick start ends both processes', async () => {
  const host = makeHost({ quickStart: true, fake: { loadMs: 100 } })
  await host.start()
  await new Promise((resolve) => setTimeout(resolve, 20))
  await host.stop()
  expect(host.pid).toBeUndefined()
})

test('a caller that gives up waiting for a load leaves it to the others', async () => {
  const host = makeHost({ fake: { loadMs: 300 } })
  const impatient = new AbortController()
  const first = host.start({ signal: impatient.signal })
  const second = host.start()
  impatient.abort(new Error('too slow'))
  await expect(first).rejects.toThrow('too slow')
  expect(await second).toMatchObject({ engine: 'fake' })
})

test.each(['slow', '!hang'])('the process dies when its parent is killed (%s)', async (prompt) => {
  const parent = spawn(process.execPath, [PARENT, prompt], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(line.toString())
  expect(isRunning(pid)).toBe(true)
  parent.kill('SIGKILL')
  await expect.poll(() => isRunning(pid), { timeout: 10_000 }).toBe(false)
})

test.each([{ slots: 0 }, { threads: 1.5 }, { contextLengthMax: -1 }])(
  '%o is refused by the constructor',
  (wrong) => {
    expect(() => makeHost(wrong)).toThrow(RangeError)
  },
)
