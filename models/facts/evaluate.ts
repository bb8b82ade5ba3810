// Runs the committed model on claims of held-out and of seen phrasings, and reports how often its verdict
// and its whole reply are right, by kind: node models/facts/evaluate.ts [--count N] [--out evaluation.json]
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/base/random.ts'
import { openChat, type Message } from './chat.ts'
import { REPLY_TOKENS_MAX } from './claims-job.ts'
import { makeClaims, type Claim, type Split } from './claims.ts'
import { GreedyModel } from './greedy.ts'
import { SYSTEM_PROMPTS } from './templates.ts'
import { parseVerdict } from './verdict.ts'

interface Score {
  claims: number
  verdictsRight: number
  repliesRight: number
}

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '6000' },
    seed: { type: 'string', default: '20250913' },
    folder: { type: 'string', default: import.meta.dirname },
    out: { type: 'string' },
  },
})

/** How many wrong replies of each part the report shows. */
const MISTAKES_MAX = 10

const EOS_TOKEN = '</s>'
const chat = openChat(values.folder)
const model = await GreedyModel.open(join(values.folder, 'onnx/model.onnx'))
const [eosTokenId] = chat.encode(EOS_TOKEN)

async function reply(messages: readonly Message[]): Promise<string> {
  const { tokenIds } = await model.generate(chat.encodePrompt(messages), {
    eosTokenId,
    tokensMax: REPLY_TOKENS_MAX,
  })
  return chat.decode(tokenIds)
}

function addScore(score: Score | undefined, claim: Claim, said: string): Score {
  const { claims, verdictsRight, repliesRight } = score ?? { claims: 0, verdictsRight: 0, repliesRight: 0 }
  return {
    claims: claims + 1,
    verdictsRight: verdictsRight + Number(parseVerdict(said) === claim.verdict),
    repliesRight: repliesRight + Number(said === claim.reply),
  }
}

/** A score with shares in per cent, to two places. */
function reportScore({ claims, verdictsRight, repliesRight }: Score): object {
  const percent = (count: number): number => Math.round((count / claims) * 10_000) / 100
  return { claims, verdictRightPercent: percent(verdictsRight), replyRightPercent: percent(repliesRight) }
}

/** Scores by kind on claims of `split`, each after the messages of `opening`. */
async function evaluate(split: Split, opening: readonly Message[] = []): Promise<object> {
  const scores = new Map<string, Score>()
  const mistakes: object[] = []
  for (const claim of makeClaims(seededRandom(Number(values.seed)), split).take(Number(values.count))) {
    const said = await reply([...opening, { role: 'user', content: claim.text }])
    for (const group of ['all', claim.kind]) scores.set(group, addScore(scores.get(group), claim, said))
    if (said !== claim.reply) mistakes.push({ claim: claim.text, expected: claim.reply, said })
  }
  const kinds = [...scores].sort(([left], [right]) => (left < right ? -1 : 1))
  const byKind = Object.fromEntries(kinds.map(([kind, score]) => [kind, reportScore(score)]))
  return { kinds: byKind, mistakes: mistakes.slice(0, MISTAKES_MAX) }
}

const report = {
  model: 'facts',
  modelSha256: createHash('sha256')
    .update(readFileSync(join(values.folder, 'onnx/model.onnx')))
    .digest('hex'),
  seed: Number(values.seed),
  heldOutPhrasings: await evaluate('held-out'),
  seenPhrasings: await evaluate('training'),
  heldOutPhrasingsAfterSystemMessage: await evaluate('held-out', [
    { role: 'system', content: SYSTEM_PROMPTS[0] ?? '' },
  ]),
}
await model.close()
const text = `${JSON.stringify(report, null, 2)}\n`
if (values.out === undefined) process.stdout.write(text)
else writeFileSync(values.out, text)
