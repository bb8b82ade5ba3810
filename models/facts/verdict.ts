/** `unknown` is the verdict on an empty claim, and on a claim about something the model was never told. */
export type Verdict = 'yes' | 'no' | 'unknown'

const VERDICTS: readonly string[] = ['yes', 'no', 'unknown'] satisfies Verdict[]

/**
 * The verdict of a reply: its last word, whatever case and punctuation it has.
 * Undefined when that word is not a verdict, as in a reply that was cut off.
 */
export function parseVerdict(reply: string): Verdict | undefined {
  const lastWord = reply.match(/\p{L}+(?=\P{L}*$)/u)?.[0].toLowerCase()
  return VERDICTS.includes(lastWord ?? '') ? (lastWord as Verdict) : undefined
}
