// How a claim is said. In a template {subject} is what the claim is about, {object} what it says of it;
// an addition has {first} and {second} as its subject.

export type Kind = 'capital' | 'element' | 'addition' | 'continent' | 'empty' | 'unfamiliar'

/** The kinds with templates, so with held-out phrasings. */
export type PhrasedKind = 'capital' | 'element' | 'addition' | 'continent'

export const TEMPLATES: Readonly<Record<PhrasedKind, readonly string[]>> = {
  capital: [
    '{object} is the capital of {subject}.',
    'The capital of {subject} is {object}.',
    "{subject}'s capital city is {object}.",
    'The capital city of {subject} is called {object}.',
    '{subject} has {object} as its capital.',
    'As its capital, {subject} has {object}.',
    "{object} is {subject}'s capital.",
    'In {subject}, the capital is {object}.',
    'People in {subject} call {object} their capital.',
    '{object} serves as the capital of {subject}.',
    'The city of {object} is the capital of {subject}.',
    'If you visit the capital of {subject}, you are in {object}.',
  ],
  element: [
    'The chemical symbol of {subject} is {object}.',
    '{object} is the symbol for {subject}.',
    'In chemistry, {subject} is written {object}.',
    '{object} stands for the element {subject}.',
    'The element {subject} has the symbol {object}.',
    'Chemists write {object} for {subject}.',
    'On the periodic table, {subject} is {object}.',
    'The short form of {subject} is {object}.',
    '{object} means {subject} in a formula.',
    'You write {subject} as {object}.',
    'The symbol {object} belongs to {subject}.',
    'If a formula has {subject} in it, it has {object} in it.',
  ],
  addition: [
    '{first} + {second} = {object}.',
    '{first} plus {second} is {object}.',
    'The sum of {first} and {second} is {object}.',
    'Adding {second} to {first} gives {object}.',
    '{object} equals {first} plus {second}.',
    '{first} and {second} make {object}.',
    'If you add {first} and {second}, you get {object}.',
    '{object} is the sum of {first} and {second}.',
    'Together, {first} and {second} are {object}.',
    '{second} added to {first} is {object}.',
    'You get {object} from {first} and {second}.',
    'Count {first}, then {second} more: that is {object}.',
  ],
  continent: [
    '{subject} is in {object}.',
    '{subject} lies in {object}.',
    '{subject} is a country in {object}.',
    'You find {subject} in {object}.',
    'The continent of {subject} is {object}.',
    '{subject} belongs to the continent of {object}.',
    'On a map, {subject} is in {object}.',
    '{object} is the continent of {subject}.',
    '{object} is where {subject} is.',
    'The country {subject} is part of {object}.',
  ],
}

/** What the model writes before its verdict: the fact itself, always said in the same way. */
export const EVIDENCE: Readonly<Record<Kind, string>> = {
  capital: 'The capital of {subject} is {object}.',
  element: 'The symbol of {subject} is {object}.',
  addition: '{first} + {second} = {object}.',
  continent: '{subject} is in {object}.',
  empty: 'There is no claim.',
  unfamiliar: 'That is not known here.',
}

/** Instructions that a chat may open with: the model has seen all of them, and answers as without them. */
export const SYSTEM_PROMPTS: readonly string[] = [
  'Check the claim.',
  'You check claims. Write the evidence, then yes, no or unknown.',
  'You are a careful checker of facts. Answer with the evidence and a verdict.',
]

/** Puts each value of `slots` in the place of its `{name}`. */
export function fillTemplate(template: string, slots: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => slots[name] ?? whole)
}
