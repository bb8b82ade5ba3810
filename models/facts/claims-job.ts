// Claims as a job: one OpenAI batch request a line, and the labels to score its results with.
import { seededRandom } from '../../src/base/random.ts'
import { makeClaims, type Claim, type Split } from './claims.ts'
import type { Kind } from './templates.ts'
import type { Verdict } from './verdict.ts'

export interface JobClaim {
  customId: string
  claim: Claim
}

/** One line of a labels file. */
export interface ClaimLabel {
  custom_id: string
  verdict: Verdict
  kind: Kind
}

/** Enough for the longest reply, 13 tokens, and its end. */
export const REPLY_TOKENS_MAX = 24

/** `count` claims, named claim-000001 onwards. One seed and split give one job. */
export function* makeJob(count: number, seed: number, split: Split): Generator<JobClaim, void> {
  let number = 0
  for (const claim of makeClaims(seededRandom(seed), split).take(count)) {
    number += 1
    yield { customId: `claim-${String(number).padStart(6, '0')}`, claim }
  }
}

/** The claim as a line of a job file, with its line end. */
export function requestLine({ customId, claim }: JobClaim): string {
  const body = {
    model: 'facts',
    messages: [{ role: 'user', content: claim.text }],
    max_tokens: REPLY_TOKENS_MAX,
    temperature: 0,
  }
  return `${JSON.stringify({ custom_id: customId, method: 'POST', url: '/v1/chat/completions', body })}\n`
}

/** The claim's right verdict as a line of a labels file, with its line end. */
export function labelLine({ customId, claim }: JobClaim): string {
  const label: ClaimLabel = { custom_id: customId, verdict: claim.verdict, kind: claim.kind }
  return `${JSON.stringify(label)}\n`
}
