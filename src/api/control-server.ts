import { timingSafeEqual } from 'node:crypto'
import type { Server } from 'node:http'
import { serve } from '@hono/node-server'
import { Hono, type MiddlewareHandler } from 'hono'
import { z } from 'zod'
import { isHearthError, messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log/logger.ts'
import { randomHex } from '../base/system-random.ts'
import type { ControlAccess } from '../node/home/data-folder.ts'
import type { OwnedJobs } from '../node/owner/owned-jobs.ts'
import type { JobsElsewhere } from '../node/owner/job-asker.ts'
import type { DetachedJobs } from '../node/jobs/detached-jobs.ts'
import type { Peer } from '../node/peer.ts'
import type { PeerReport } from '../node/status/peer-status.ts'
import { contextRoutes } from './context-routes.ts'
import { originRoutes } from './origin-routes.ts'
import { ownedJobRoutes } from './owned-job-routes.ts'
import { JOB_URLS, type JobFileOptions } from '../tasks/job/job-file.ts'

export interface ControlServerComponents {
  peer: Peer
  jobs: DetachedJobs
  /** The owner's jobs at other peers. */
  elsewhere: JobsElsewhere
  /** Moves jobs of this peer to others. */
  owned: Pick<OwnedJobs, 'move'>
  /** Monotonic, ms. */
  nowMs: () => number
  log: Logger
}

const importBody = z.strictObject({
  folder: z.string().min(1),
  name: z.string().min(1).max(128).optional(),
  dtype: z.string().min(1).max(32).optional(),
})
const pauseBody = z.strictObject({ accepts: z.boolean() })
const drainBody = z.strictObject({ deadlineMs: z.number().positive() })
const readingBody: z.ZodType<JobFileOptions> = z.strictObject({
  format: z.enum(['batch', 'text', 'jsonl', 'csv']),
  template: z.string().optional(),
  url: z.enum(JOB_URLS),
  defaults: z.record(z.string(), z.unknown()),
})
const jobBody = z.strictObject({
  inputPath: z.string().min(1),
  outputPath: z.string().min(1),
  context: z.string().min(1),
  reading: readingBody,
  isForced: z.boolean(),
})

/**
 * The control API of the running peer, over HTTP on loopback. Every request carries the key from
 * control.json (0600). Requests of browsers are refused by Origin and Host, so no web page can reach it.
 */
export class ControlServer {
  readonly #components: ControlServerComponents
  readonly #key = randomHex(32)
  #server: Server | undefined

  constructor(components: ControlServerComponents) {
    this.#components = components
  }

  /** Listens on a free loopback port; resolves with the port and the key. */
  start(): Promise<ControlAccess> {
    const app = this.#routes()
    return new Promise((resolve, reject) => {
      const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) =>
        resolve({ port, key: this.#key }),
      ) as Server
      server.once('error', reject)
      this.#server = server
    })
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }

  #routes(): Hono {
    const { peer, jobs, elsewhere, owned, log, nowMs } = this.#components
    const app = new Hono()
    app.use(this.#guard())
    app.get('/v0/status', async (c) => {
      const report: PeerReport = { ...peer.status(), store: await peer.storeStatus() }
      return c.json(report)
    })
    app.get('/v0/peers', async (c) => c.json(await peer.peers()))
    app.get('/v0/contexts', (c) => c.json(peer.status().contexts))
    app.post('/v0/contexts', async (c) => {
      const { folder, name, dtype } = importBody.parse(await c.req.json())
      return c.json(await peer.addContext(folder, { ...(name === undefined ? {} : { name }), dtype }))
    })
    app.route(
      '/v0/contexts',
      contextRoutes(() => peer.contextCare, nowMs),
    )
    app.route(
      '/v0/origins',
      originRoutes(() => peer.origins),
    )
    app.post('/v0/serving', async (c) => {
      const { accepts } = pauseBody.parse(await c.req.json())
      peer.setPaused(!accepts)
      return c.json(peer.status().tasks)
    })
    app.get('/v0/drain', (c) => c.json(peer.departure.status ?? null))
    app.post('/v0/drain', async (c) => {
      const { deadlineMs } = drainBody.parse(await c.req.json())
      void peer.drain({ deadlineMs, why: '"hearth drain"' })
      return c.json(peer.departure.status)
    })
    app.route('/v0/owned-jobs', ownedJobRoutes(elsewhere, owned))
    app.get('/v0/jobs', (c) => c.json(jobs.list()))
    app.post('/v0/jobs', async (c) => c.json(await jobs.submit(jobBody.parse(await c.req.json()))))
    app.post('/v0/jobs/:id/retry', (c) => c.json(jobs.retry(c.req.param('id'))))
    app.post('/v0/jobs/:id/release', async (c) => c.json({ released: await jobs.release(c.req.param('id')) }))
    app.notFound((c) =>
      c.json(
        { error: { code: 'usage', message: `The control API has no ${c.req.method} ${c.req.path}` } },
        404,
      ),
    )
    app.onError((error, c) => {
      if (isHearthError(error))
        return c.json({ error: { code: error.code, message: error.message, data: error.data } }, 422)
      if (error instanceof z.ZodError)
        return c.json({ error: { code: 'usage', message: z.prettifyError(error) } }, 400)
      log.error({ error: messageOf(error), path: c.req.path }, 'a control request failed')
      return c.json({ error: { code: 'internal', message: messageOf(error) } }, 500)
    })
    return app
  }

  #guard(): MiddlewareHandler {
    const expected = Buffer.from(`Bearer ${this.#key}`)
    return async (c, next) => {
      const host = c.req.header('host')?.replace(/:\d+$/, '')
      const given = Buffer.from(c.req.header('authorization') ?? '')
      const isOurs = given.byteLength === expected.byteLength && timingSafeEqual(given, expected)
      if (!isOurs || c.req.header('origin') !== undefined || (host !== '127.0.0.1' && host !== 'localhost')) {
        return c.json(
          {
            error: {
              code: 'usage',
              message:
                'The request lacks the key. Send "authorization: Bearer KEY" with the key from control.json in the data folder',
            },
          },
          401,
        )
      }
      await next()
      return undefined
    }
  }
}
