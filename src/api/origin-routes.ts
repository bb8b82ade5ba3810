import { Hono } from 'hono'
import { z } from 'zod'
import { originIdSchema } from '../context-sharing/content/origin-id.ts'
import { type OriginPhase, originPhaseSchema } from '../context-sharing/wire/origin-messages.ts'
import type { Origins } from '../context-sharing/origin/origins.ts'

/** The body of `POST /v0/origins/:originId`. */
export interface OriginWish {
  phase: OriginPhase
  /** Contexts that were checked and are not the model. */
  refused: readonly string[]
}

const REFUSED_MAX = 64

const wishBody: z.ZodType<OriginWish> = z.strictObject({
  phase: originPhaseSchema,
  refused: z.array(z.string().max(128)).max(REFUSED_MAX),
})

/** Tells a command that wants to download a model whether to do it, or which peer does; below `/v0/origins`. */
export function originRoutes(origins: () => Pick<Origins, 'want' | 'release'>): Hono {
  const app = new Hono()
  app.post('/:originId', async (c) => {
    const { phase, refused } = wishBody.parse(await c.req.json())
    return c.json(await origins().want(originIdSchema.parse(c.req.param('originId')), phase, refused))
  })
  app.post('/:originId/release', (c) => {
    origins().release(c.req.param('originId'))
    return c.json({})
  })
  return app
}
