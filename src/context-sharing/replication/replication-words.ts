import { DECISION_CODES, type Decision, type DecisionCode } from '../history/decisions.ts'
import type { ReplicationEffect } from './core/replication.ts'

/** Turns an effect of core/replication into a decision; undefined when the effect decides nothing. */
export function decisionOf(effect: ReplicationEffect): Decision | undefined {
  switch (effect.kind) {
    case 'decision': {
      const { live, graced, making, wanted } = effect
      const away = graced === 0 ? '' : `${graced} briefly away, `
      const counts = `${live} copies of ${wanted}, ${away}${making} being made`
      return decision(effect.contextId, `copy-${effect.code}`, counts)
    }
    case 'pull':
      return decision(effect.contextId, 'copy-begun', PULL_WORDS[effect.why])
    case 'cancel':
      return decision(effect.contextId, 'copy-given-up', DECISION_CODES[`copy-${effect.code}`])
    case 'offer':
      return decision(effect.contextId, 'copy-offered', `${effect.copies} other known copies`, effect.peer)
    case 'accept':
      return decision(effect.contextId, 'copy-accepted', 'it asked for a copy here', effect.peer)
    case 'decline':
      return decision(effect.contextId, 'copy-declined', `the reason is ${effect.code}`, effect.peer)
    default:
      return undefined
  }
}

const PULL_WORDS = {
  repair: 'a copy is missing, and it is this peer’s turn',
  urgent: 'only one copy is left, and it is this peer’s turn',
  prefetch: 'jobs use all its copies, so one more is made in advance',
  offered: 'a peer that has the context asked for it',
  drain: 'a peer that is shutting down asked for it',
} as const

/** The meaning of the decision, then its values. */
function decision(contextId: string, code: DecisionCode, values: string, peer?: string): Decision {
  const words = `${DECISION_CODES[code]}: ${values}`
  return { contextId, by: 'replication', code, words, ...(peer === undefined ? {} : { peer }) }
}
