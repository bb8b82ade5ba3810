import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT: string = join(import.meta.dirname, '../..')

/** All pages of the repository, by their paths. */
export const PAGES: readonly string[] = [
  ...globSync('*.md', { cwd: ROOT }),
  ...globSync('docs/**/*.md', { cwd: ROOT }),
  'models/facts/README.md',
].sort()

export const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8')

/** A fenced block of a page: its language, which may be empty, and its text. */
export interface Block {
  page: string
  language: string
  text: string
}

const BLOCK = /^```([^\n]*)\n([^]*?)^```/gm

export const blocksOf = (page: string): Block[] =>
  [...textOf(page).matchAll(BLOCK)].map(([, language = '', text = '']) => ({ page, language, text }))

/** The lines of a block, with continued lines joined. */
export const linesOf = (block: Block): string[] =>
  block.text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')

export const withoutBlocks = (text: string): string => text.replaceAll(/^```[^]*?^```/gm, '')

export const inlineCodeOf = (page: string): string[] =>
  [...withoutBlocks(textOf(page)).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)

/** Every line of the blocks, and every piece of inline code. */
export const codeOf = (page: string): string[] => [...blocksOf(page).flatMap(linesOf), ...inlineCodeOf(page)]
