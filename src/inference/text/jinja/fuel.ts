// Bounds what one rendering may cost: steps taken and characters and items made.
import { TemplateError } from './values/values.ts'

/** Steps of one rendering. The longest chats of real templates take under a million. */
const STEPS_MAX = 10_000_000

/** Characters that cost as much as one step. */
const CHARACTERS_PER_STEP = 16

const CHARACTERS_MAX = 32 * 1024 * 1024
const ITEMS_MAX = 1024 * 1024

export class Fuel {
  #left = STEPS_MAX

  step(): void {
    this.#left -= 1
    if (this.#left < 0) throw new TemplateError(`the template takes more than ${STEPS_MAX} steps`)
  }

  /** To be called before a text of this length is made. */
  spend(characters: number): void {
    if (characters > CHARACTERS_MAX) {
      throw new TemplateError(`the template makes a text of ${characters} characters, over ${CHARACTERS_MAX}`)
    }
    this.#left -= characters / CHARACTERS_PER_STEP
    this.step()
  }

  /** To be called before a list of this length is made. */
  spendItems(items: number): void {
    if (items > ITEMS_MAX)
      throw new TemplateError(`the template makes a list of ${items} items, over ${ITEMS_MAX}`)
    this.#left -= items
    this.step()
  }
}
