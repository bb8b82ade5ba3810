// Post-processors of tokenizer.json: the special tokens around a prompt.
import { partOf, partsOf, textOf, type Part } from './parts.ts'

export type Surround = (ids: readonly number[]) => number[]

export function makePostProcessor(part: Part | null): Surround {
  if (part === null) return (ids) => [...ids]
  switch (part['type']) {
    case 'Sequence': {
      const steps = partsOf(part['processors'], 'processors').map(makePostProcessor)
      return (ids) => steps.reduce((done, step) => step(done), [...ids])
    }
    case 'ByteLevel':
      return (ids) => [...ids]
    case 'BertProcessing':
    case 'RobertaProcessing': {
      const [start, end] = [pairId(part['cls']), pairId(part['sep'])]
      return (ids) => [start, ...ids, end]
    }
    case 'TemplateProcessing':
      return template(part)
    default:
      throw new Error(`the post-processor ${JSON.stringify(part['type'])} is not supported`)
  }
}

function pairId(pair: unknown): number {
  if (!Array.isArray(pair) || !Number.isSafeInteger(pair[1])) throw new Error('a special token has no id')
  return pair[1] as number
}

function template(part: Part): Surround {
  const known = partOf(part['special_tokens'], 'special_tokens')
  const pieces = partsOf(part['single'], 'single').map((piece) => {
    if ('Sequence' in piece) return undefined
    const name = textOf(partOf(piece['SpecialToken'], 'a piece of the template'), 'id')
    const { ids } = partOf(known[name], `the special token ${JSON.stringify(name)}`)
    if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id)))
      throw new Error(`${name} has no ids`)
    return ids as number[]
  })
  return (ids) => pieces.flatMap((piece) => piece ?? ids)
}
