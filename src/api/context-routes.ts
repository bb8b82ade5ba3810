import { type Context, Hono } from 'hono'
import { stream } from 'hono/streaming'
import { z } from 'zod'
import { HearthError, isHearthError, messageOf } from '../base/errors.ts'
import type { ContextCare } from '../node/contexts/context-care.ts'

/** Shortest interval between progress events, ms, because a scrub has one for every chunk. */
const TELL_EVERY_MS = 200

const pinBody = z.strictObject({ isPinned: z.boolean() })
const nameBody = z.strictObject({ name: z.string().min(1).max(128) })
const removeBody = z.strictObject({ force: z.boolean() })

/** A long operation that reports progress until it ends or the caller hangs up. */
type Work = (options: { signal: AbortSignal; onProgress: (progress: object) => void }) => Promise<object>

/**
 * The owner's operations on one context, below `/v0/contexts`. Long ones answer in NDJSON: `progress`
 * events, then `done`, or `error` with its code. Hanging up ends the operation.
 */
export function contextRoutes(care: () => ContextCare, nowMs: () => number): Hono {
  const app = new Hono()
  const named = (c: Context): string => c.req.param('name') ?? ''
  app.get('/:name', (c) => c.json(care().show(named(c))))
  app.post('/:name/pin', async (c) => {
    const { isPinned } = pinBody.parse(await c.req.json())
    return c.json(await care().pin(named(c), isPinned))
  })
  app.post('/:name/name', async (c) => {
    const { name } = nameBody.parse(await c.req.json())
    return c.json(await care().name(named(c), name))
  })
  app.post('/:name/remove', async (c) => {
    const { force } = removeBody.parse(await c.req.json())
    return c.json({ contextId: await care().remove(named(c), { force }) })
  })
  app.post('/:name/get', (c) => follow(c, nowMs, (options) => care().get(named(c), options)))
  app.post('/:name/scrub', (c) => follow(c, nowMs, (options) => care().scrub(named(c), options)))
  app.post('/scrub', (c) => follow(c, nowMs, (options) => care().scrub(undefined, options)))
  return app
}

function follow(c: Context, nowMs: () => number, work: Work): Response {
  c.header('content-type', 'application/x-ndjson')
  return stream(c, async (out) => {
    const gone = new AbortController()
    out.onAbort(() => gone.abort(new HearthError('stream-closed', 'the caller has hung up')))
    const tell = (event: object): void => void out.writeln(JSON.stringify(event))
    let toldMs = -Infinity
    const onProgress = (progress: object): void => {
      if (nowMs() - toldMs < TELL_EVERY_MS) return
      toldMs = nowMs()
      tell({ event: 'progress', ...progress })
    }
    try {
      tell({ event: 'done', ...(await work({ signal: gone.signal, onProgress })) })
    } catch (error) {
      const code = isHearthError(error) ? error.code : 'internal'
      const data = isHearthError(error) ? error.data : {}
      tell({ event: 'error', code, message: messageOf(error), data })
    }
  })
}
