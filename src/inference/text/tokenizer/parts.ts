// Reads the parts of tokenizer.json, each of them an object with a `type`.
import { compilePattern } from './pattern.ts'

export type Part = Readonly<Record<string, unknown>>

/** Thrown for a text that the tokenizer cannot encode. */
export class TokenizeError extends Error {}

export function partOf(value: unknown, what: string): Part {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${what} is not an object`)
  return value as Part
}

export function partsOf(value: unknown, what: string): Part[] {
  if (!Array.isArray(value)) throw new Error(`${what} is not a list`)
  return value.map((item) => partOf(item, what))
}

export function textOf(part: Part, name: string, fallback?: string): string {
  const value = part[name] ?? fallback
  if (typeof value !== 'string') throw new Error(`${String(part['type'])}: ${name} is not text`)
  return value
}

export function flagOf(part: Part, name: string, fallback: boolean): boolean {
  const value = part[name] ?? fallback
  if (typeof value !== 'boolean')
    throw new Error(`${String(part['type'])}: ${name} is neither true nor false`)
  return value
}

export function countOf(part: Part, name: string, fallback?: number): number {
  const value = part[name] ?? fallback
  if (!Number.isSafeInteger(value)) throw new Error(`${String(part['type'])}: ${name} is not an integer`)
  return value as number
}

/** A pattern of tokenizer.json, which Rust runs in Oniguruma, as JavaScript's. */
export function patternOf(part: Part): RegExp {
  const pattern = partOf(part['pattern'], 'a pattern')
  if (typeof pattern['String'] === 'string') return new RegExp(escapePattern(pattern['String']), 'gu')
  return compilePattern(textOf(pattern, 'Regex'))
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
}
