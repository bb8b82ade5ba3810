import { Hono } from 'hono'
import { z } from 'zod'
import type { JobsElsewhere } from '../node/owner/job-asker.ts'
import type { OwnedJobs } from '../node/owner/owned-jobs.ts'
import { answerToJson, jobQuestionSchema, type JobQuestion } from '../node/owner/job-messages.ts'

const askBody: z.ZodType<{ peer: string; question: JobQuestion }> = z.strictObject({
  peer: z.string().min(1).max(128),
  question: jobQuestionSchema,
})

const moveBody = z.strictObject({ job: z.string().min(1).max(64), to: z.string().min(1).max(128) })

/** The owner's jobs at other peers, below `/v0/owned-jobs`. Hanging up ends the question. */
export function ownedJobRoutes(elsewhere: JobsElsewhere, owned: Pick<OwnedJobs, 'move'>): Hono {
  const app = new Hono()
  app.get('/', async (c) => c.json(await elsewhere.list(c.req.raw.signal)))
  app.post('/ask', async (c) => {
    const { peer, question } = askBody.parse(await c.req.json())
    return c.json(answerToJson(await elsewhere.ask(peer, question, c.req.raw.signal)))
  })
  app.post('/move', async (c) => {
    const { job, to } = moveBody.parse(await c.req.json())
    await owned.move(job, to, c.req.raw.signal)
    return c.json({ job, to })
  })
  return app
}
