// Writes tokenized examples for train.py, one {"prompt": ids, "reply": ids} a line:
// node models/facts/make-training-data.ts --count N --seed S --split training|held-out --out FILE.jsonl
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { pick, seededRandom } from '../../src/base/random.ts'
import { openChat, type Message } from './chat.ts'
import { makeClaims, type Claim, type Split } from './claims.ts'
import { SYSTEM_PROMPTS } from './templates.ts'

const { values } = parseArgs({
  options: {
    count: { type: 'string' },
    seed: { type: 'string' },
    split: { type: 'string', default: 'training' },
    out: { type: 'string' },
  },
})
if (values.count === undefined || values.seed === undefined || values.out === undefined) {
  throw new Error('--count, --seed and --out are needed')
}

/** Few, because the prompts have no bearing on the answer and cost time to read. */
const SYSTEM_SHARE = 0.1

const chat = openChat(import.meta.dirname)
const random = seededRandom(Number(values.seed))
const systemRandom = seededRandom(Number(values.seed) + 1)

function messagesOf(claim: Claim): Message[] {
  const user: Message = { role: 'user', content: claim.text }
  if (systemRandom.next() >= SYSTEM_SHARE) return [user]
  return [{ role: 'system', content: pick(systemRandom, SYSTEM_PROMPTS) ?? '' }, user]
}

const EOS_TOKEN = '</s>'

mkdirSync(dirname(values.out), { recursive: true })
const file = openSync(values.out, 'w')
for (const claim of makeClaims(random, values.split as Split).take(Number(values.count))) {
  const example = {
    prompt: chat.encodePrompt(messagesOf(claim)),
    reply: chat.encode(claim.reply + EOS_TOKEN),
  }
  writeSync(file, `${JSON.stringify(example)}\n`)
}
closeSync(file)
