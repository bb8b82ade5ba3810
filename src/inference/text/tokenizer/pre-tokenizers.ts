// Pre-tokenizers of tokenizer.json: they cut a text into pieces that the model sees one by one.
import { textToLevel } from './byte-level.ts'
import { countOf, flagOf, partsOf, patternOf, textOf, type Part } from './parts.ts'

export interface Piece {
  text: string
  /** Whether it begins where the whole prompt does. */
  isFirst: boolean
}

export type PreTokenize = (pieces: readonly Piece[]) => Piece[]

const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const
type Behavior = (typeof BEHAVIORS)[number]

const GPT2_WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu
const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]'
const WORDS = new RegExp(`${WORD}+|(?:(?!${WORD})\\P{White_Space})+`, 'gu')

export function makePreTokenizer(part: Part | null): PreTokenize {
  if (part === null) return (pieces) => [...pieces]
  switch (part['type']) {
    case 'Sequence': {
      const steps = partsOf(part['pretokenizers'], 'pretokenizers').map(makePreTokenizer)
      return (pieces) => steps.reduce((done, step) => step(done), [...pieces])
    }
    case 'ByteLevel':
      return byteLevel(part)
    case 'Metaspace':
      return metaspace(part)
    case 'Whitespace':
      return cutting(WORDS, 'Removed', true)
    case 'WhitespaceSplit':
      return cutting(/\p{White_Space}/gu, 'Removed')
    case 'BertPreTokenizer':
      return (pieces) => cutting(PUNCTUATION, 'Isolated')(cutting(/\p{White_Space}/gu, 'Removed')(pieces))
    case 'Punctuation':
      return cutting(PUNCTUATION, behaviorOf(part, 'Isolated'))
    case 'Digits':
      return cutting(/\p{N}/gu, flagOf(part, 'individual_digits', false) ? 'Isolated' : 'Contiguous')
    case 'CharDelimiterSplit':
      return cutting(patternOf({ pattern: { String: textOf(part, 'delimiter') } }), 'Removed')
    case 'Split':
      return cutting(patternOf(part), behaviorOf(part), flagOf(part, 'invert', false))
    case 'FixedLength':
      return fixedLength(countOf(part, 'length', 5))
    default:
      throw new Error(`the pre-tokenizer ${JSON.stringify(part['type'])} is not supported`)
  }
}

function behaviorOf(part: Part, fallback?: Behavior): Behavior {
  const name = textOf(part, 'behavior', fallback)
  const behavior = BEHAVIORS.find((candidate) => candidate.toLowerCase() === name.toLowerCase())
  if (behavior === undefined) throw new Error(`the behavior ${JSON.stringify(name)} is not supported`)
  return behavior
}

function byteLevel(part: Part): PreTokenize {
  const addsSpace = flagOf(part, 'add_prefix_space', true)
  const cut = flagOf(part, 'use_regex', true) ? cutting(GPT2_WORDS, 'Isolated') : undefined
  return (pieces) => {
    const spaced = addsSpace
      ? pieces.map(({ text, isFirst }) => ({ text: text.startsWith(' ') ? text : ` ${text}`, isFirst }))
      : [...pieces]
    return (cut?.(spaced) ?? spaced).map(({ text, isFirst }) => ({ text: textToLevel(text), isFirst }))
  }
}

function metaspace(part: Part): PreTokenize {
  const replacement = textOf(part, 'replacement', '▁')
  const isBare = part['add_prefix_space'] === false && part['prepend_scheme'] === undefined
  const scheme = isBare ? 'never' : textOf(part, 'prepend_scheme', 'always').toLowerCase()
  const cut = flagOf(part, 'split', true)
    ? cutting(patternOf({ pattern: { String: replacement } }), 'MergedWithNext')
    : undefined
  return (pieces) => {
    const marked = pieces.map(({ text, isFirst }) => {
      const spaced = text.replaceAll(' ', replacement)
      const isMarked = scheme === 'always' || (scheme === 'first' && isFirst)
      return { text: isMarked && !spaced.startsWith(replacement) ? replacement + spaced : spaced, isFirst }
    })
    return cut?.(marked) ?? marked
  }
}

function fixedLength(length: number): PreTokenize {
  if (length < 1) throw new Error('FixedLength: length is under 1')
  return (pieces) =>
    pieces.flatMap(({ text, isFirst }) => {
      const characters = Array.from(text)
      return Array.from({ length: Math.ceil(characters.length / length) }, (_, index) => ({
        text: characters.slice(index * length, (index + 1) * length).join(''),
        isFirst: isFirst && index === 0,
      }))
    })
}

function cutting(pattern: RegExp, behavior: Behavior, isInverted = false): PreTokenize {
  return (pieces) =>
    pieces.flatMap(({ text, isFirst }) => {
      const whole = behavior === 'Isolated' ? coverOf(text, pattern) : undefined
      if (whole !== undefined)
        return whole.map((part, index) => ({ text: part, isFirst: isFirst && index === 0 }))
      const spans = merge(findSpans(text, pattern, isInverted), behavior)
      return spans
        .filter(({ start, end }) => end > start)
        .map(({ start, end }) => ({ text: text.slice(start, end), isFirst: isFirst && start === 0 }))
    })
}

/** The matches where they are all of the text, as those of most patterns for words: quicker than spans. */
function coverOf(text: string, pattern: RegExp): string[] | undefined {
  const parts = text.match(pattern)?.filter((part) => part !== '') ?? []
  let covered = 0
  for (const part of parts) covered += part.length
  return covered === text.length ? parts : undefined
}

interface Span {
  start: number
  end: number
  isMatch: boolean
}

function findSpans(text: string, pattern: RegExp, isInverted: boolean): Span[] {
  const spans: Span[] = []
  let place = 0
  for (const { 0: found, index } of text.matchAll(pattern)) {
    if (index > place) spans.push({ start: place, end: index, isMatch: isInverted })
    spans.push({ start: index, end: index + found.length, isMatch: !isInverted })
    place = index + found.length
  }
  if (place < text.length) spans.push({ start: place, end: text.length, isMatch: isInverted })
  return spans
}

// oxlint-disable-next-line typescript/consistent-return -- the switch is exhaustive
function merge(spans: readonly Span[], behavior: Behavior): Span[] {
  switch (behavior) {
    case 'Removed':
      return spans.filter(({ isMatch }) => !isMatch)
    case 'Isolated':
      return [...spans]
    case 'Contiguous':
      return joinSpans(spans, (last, span) => last.isMatch === span.isMatch)
    case 'MergedWithPrevious':
      return joinSpans(spans, (last, span) => span.isMatch && !last.isMatch)
    case 'MergedWithNext':
      return joinSpans(spans, (last, span) => last.isMatch && !span.isMatch)
  }
}

/** Joins neighbours; what was joined has the kind of its later part. */
function joinSpans(spans: readonly Span[], belongs: (last: Span, span: Span) => boolean): Span[] {
  const joined: Span[] = []
  for (const span of spans) {
    const last = joined.at(-1)
    if (last === undefined || !belongs(last, span)) joined.push({ ...span })
    else {
      last.end = span.end
      last.isMatch = span.isMatch
    }
  }
  return joined
}
