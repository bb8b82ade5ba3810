// Settings of a request body that leave its answer as it is without them.

/** Whether a value asks for nothing. */
type IsNeutral = (value: unknown) => boolean
type Neutral = ReadonlyMap<string, IsNeutral>

const isAnything: IsNeutral = () => true
const isEmptyList: IsNeutral = (value) => Array.isArray(value) && value.length === 0
const is =
  (...values: (string | number | boolean)[]): IsNeutral =>
  (value) =>
    values.some((neutral) => neutral === value)

function isObjectOf(value: unknown, isNeutral: IsNeutral): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every(isNeutral)
  )
}

/** Beside null, which means absent for every field of OpenAI's API. */
const IN_BODY: Neutral = new Map<string, IsNeutral>([
  // They label, store or bill a request, or hint how to compute the same answer sooner.
  ['user', isAnything],
  ['metadata', isAnything],
  ['store', isAnything],
  ['service_tier', isAnything],
  ['safety_identifier', isAnything],
  ['prompt_cache_key', isAnything],
  ['prompt_cache_options', isAnything],
  ['prompt_cache_retention', isAnything],
  ['prediction', isAnything],
  // The defaults that SDKs and form fields write out.
  ['tools', isEmptyList],
  ['functions', isEmptyList],
  ['tool_choice', is('none', 'auto')],
  ['function_call', is('none', 'auto')],
  ['parallel_tool_calls', is(true, false)],
  ['logit_bias', (value) => isObjectOf(value, is(0))],
  ['modalities', (value) => Array.isArray(value) && value.length === 1 && value[0] === 'text'],
  ['reasoning_effort', is('medium')],
  ['verbosity', is('medium')],
  ['stream', is(false)],
  ['stream_options', (value) => isObjectOf(value, is(true, false))],
  ['stop', is('')],
  ['suffix', is('')],
  // The defaults of vLLM's own settings, and its place in a queue.
  ['priority', isAnything],
  ['use_beam_search', is(false)],
  ['length_penalty', is(1)],
  ['min_tokens', is(0)],
  ['skip_special_tokens', is(true)],
  ['spaces_between_special_tokens', is(true)],
  ['include_stop_str_in_output', is(false)],
  ['add_generation_prompt', is(true)],
  ['continue_final_message', is(false)],
])

/** An SDK writes an assistant's answer back with every field that it knows. */
const IN_MESSAGE: Neutral = new Map<string, IsNeutral>([
  ['annotations', isEmptyList],
  ['tool_calls', isEmptyList],
])

/** Marks where a server may cut its cache of prompts. */
const IN_PART: Neutral = new Map<string, IsNeutral>([
  ['cache_control', isAnything],
  ['prompt_cache_breakpoint', isAnything],
])

/** A body without the fields that are null or neutral, in its messages and their parts as well. */
export function withoutNeutral(body: unknown): unknown {
  const kept = keep(body, IN_BODY)
  const messages = (kept as { messages?: unknown } | null | undefined)?.messages
  if (!Array.isArray(messages)) return kept
  const keptMessages = mapChanged(messages, keepInMessage)
  return keptMessages === messages ? kept : { ...(kept as object), messages: keptMessages }
}

function keepInMessage(message: unknown): unknown {
  const kept = keep(message, IN_MESSAGE)
  const content = (kept as { content?: unknown } | null | undefined)?.content
  if (!Array.isArray(content)) return kept
  const keptContent = mapChanged(content, (part) => keep(part, IN_PART))
  return keptContent === content ? kept : { ...(kept as object), content: keptContent }
}

/** Returns `value` itself when nothing in it is neutral, as in most of a million lines. */
function keep(value: unknown, neutral: Neutral): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  const isKept = (field: string): boolean => {
    const setting = (value as Record<string, unknown>)[field]
    return setting !== null && neutral.get(field)?.(setting) !== true
  }
  return Object.keys(value).every(isKept)
    ? value
    : Object.fromEntries(Object.entries(value).filter(([field]) => isKept(field)))
}

/** The list with each item mapped; the list itself when no item changes. */
function mapChanged(list: unknown[], map: (item: unknown) => unknown): unknown[] {
  const mapped = list.map(map)
  return mapped.every((item, index) => item === list[index]) ? list : mapped
}
