// The child process of an engine host: loads one context and runs requests.
import { writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { every } from '../../base/clock.ts'
import { isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { systemClock } from '../../base/system-clock.ts'
import { systemRandom } from '../../base/system-random.ts'
import type { Engine, EngineRequest } from '../contract/engine.ts'
import type { FromChild, LogLevel, ToChild } from './engine-messages.ts'
import { loadEngine } from '../engines/load-engine.ts'
import { guardProcess } from './process-guard.ts'

/** Runs that got on since the last heartbeat. */
const progressed = new Set<number>()
/** Linux kills the process with the highest score first: -1000 means never, 0 is usual, 1000 is the maximum. */
const OOM_SCORE_ADJUSTMENT = 500

const cancels = new Map<number, AbortController>()
let engine: Engine | undefined

function send(message: FromChild): void {
  if (process.connected) process.send?.(message)
}

const logAt =
  (level: LogLevel) =>
  (fields: object, text: string): void =>
    send({ kind: 'log', level, fields, text })

const log: Logger = {
  debug: logAt('debug'),
  info: logAt('info'),
  warn: logAt('warn'),
  error: logAt('error'),
}

async function load(message: Extract<ToChild, { kind: 'load' }>): Promise<void> {
  // Set the priority first, because later threads inherit it.
  lowerPriority(message.nice)
  dieFirst()
  guardProcess(message.residentBytesMax)
  every(systemClock, message.heartbeatMs, () => {
    send({ kind: 'heartbeat', residentBytes: process.memoryUsage.rss() })
    if (progressed.size > 0) send({ kind: 'progress', runs: [...progressed] })
    progressed.clear()
  })
  try {
    engine = await loadEngine(message.folder, message.options, {
      clock: systemClock,
      random: systemRandom,
      log,
    })
    send({ kind: 'loaded', facts: engine.facts })
  } catch (error) {
    const code = isHearthError(error) ? error.code : 'engine-failed'
    send({ kind: 'load-failed', code, message: messageOf(error) })
  }
}

/** When memory is short, Linux kills this process before its peer, which starts another. */
function dieFirst(): void {
  if (process.platform !== 'linux') return
  try {
    writeFileSync('/proc/self/oom_score_adj', String(OOM_SCORE_ADJUSTMENT))
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'cannot have this process killed first when memory is short')
  }
}

/** Where the system forbids it, the process keeps the usual priority. */
function lowerPriority(nice: number): void {
  try {
    setPriority(nice)
  } catch (error) {
    log.warn({ nice, error: messageOf(error) }, 'cannot lower the priority of the process')
  }
}

async function run(run: number, request: EngineRequest): Promise<void> {
  if (engine === undefined) return send({ kind: 'run-failed', run, message: 'no context is loaded' })
  const cancel = new AbortController()
  cancels.set(run, cancel)
  try {
    const onProgress = (): void => void progressed.add(run)
    const result = await engine.run(request, { signal: cancel.signal, onProgress })
    send({ kind: 'result', run, result })
  } catch (error) {
    if (cancel.signal.aborted) send({ kind: 'cancelled', run })
    else send({ kind: 'run-failed', run, message: messageOf(error) })
  } finally {
    cancels.delete(run)
    progressed.delete(run)
  }
}

process.on('message', (value) => {
  const message = value as ToChild
  switch (message.kind) {
    case 'load':
      void load(message)
      break
    case 'run':
      void run(message.run, message.request)
      break
    case 'cancel':
      cancels.get(message.run)?.abort(new Error('cancelled'))
      break
  }
})

// The parent is gone, so nothing needs the answers.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
