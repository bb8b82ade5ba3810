// A name is one model: the first use of a name decides, and nothing else runs under it unasked.
import { statSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Cancel, Clock } from '../../../src/base/clock.ts'
import { HearthError } from '../../../src/base/errors.ts'
import { resolveContext } from '../../../src/node/contexts/resolve-context.ts'
import { chooseContext } from '../../../src/node/contexts/swarm-view.ts'
import { KnownNames } from '../../../src/node/home/known-names.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const HONEST = 'bafyhonest'
const OTHER = 'bafyother'

/** A swarm in which holders come and go: what each look at the name finds. */
function lookUps(...looks: Record<string, string[]>[]) {
  let look = -1
  return {
    resolve: async (name: string, _signal: AbortSignal, known?: string) => {
      look = Math.min(look + 1, looks.length - 1)
      const found = chooseContext(name, new Map(Object.entries(looks[look] ?? {})), known)
      if (found === undefined) throw new HearthError('context-unknown', 'nobody has it')
      return found
    },
  }
}

/** A clock that goes on when nothing else does. */
class VirtualClock implements Clock {
  #nowMs = 0
  readonly #timers = new Set<{ atMs: number; run: () => void }>()

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#nowMs
  }

  schedule(delayMs: number, run: () => void): Cancel {
    const timer = { atMs: this.#nowMs + delayMs, run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Runs the next timer; false without one. */
  next(): boolean {
    const [first] = [...this.#timers].sort((a, b) => a.atMs - b.atMs)
    if (first === undefined) return false
    this.#timers.delete(first)
    this.#nowMs = first.atMs
    first.run()
    return true
  }
}

async function resolveIn(view: ReturnType<typeof lookUps>, known?: string): Promise<string> {
  const clock = new VirtualClock()
  const found = resolveContext(clock, view, { name: 'facts', known }, 10_000, undefined)
  const outcome = found.catch((error: unknown) => error)
  const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  await nextTurn()
  while (clock.next()) await nextTurn()
  const end = await outcome
  if (end instanceof Error) throw end
  return end as string
}

describe('a name', () => {
  test('stands for the context that peers give it', async () => {
    expect(await resolveIn(lookUps({}, { [HONEST]: ['anna'] }))).toBe(HONEST)
  })

  test('of two contexts is an error that lists both with their holders', async () => {
    const both = { [HONEST]: ['anna', 'ben'], [OTHER]: ['mallory'] }
    await expect(resolveIn(lookUps(both))).rejects.toMatchObject({
      code: 'context-ambiguous',
      message: expect.stringMatching(/bafyhonest \(of anna, ben\); bafyother \(of mallory\).*--context CID/),
    })
  })

  test('is ambiguous, too, when the second context is heard of a moment later', async () => {
    const late = lookUps({ [OTHER]: ['mallory'] }, { [OTHER]: ['mallory'], [HONEST]: ['anna'] })
    await expect(resolveIn(late)).rejects.toMatchObject({ code: 'context-ambiguous' })
  })

  test('that was used before never stands for another context, and the error says how to accept it', async () => {
    await expect(resolveIn(lookUps({ [OTHER]: ['mallory'] }), HONEST)).rejects.toMatchObject({
      code: 'context-ambiguous',
      message: expect.stringMatching(/was bafyhonest .*bafyother \(of mallory\).*--context facts=CID/),
      data: { known: HONEST, offered: { [OTHER]: ['mallory'] } },
    })
  })

  test('that was used before stands for the same while others use it, and waits for its holder', async () => {
    const both = { [HONEST]: ['anna'], [OTHER]: ['mallory'] }
    expect(await resolveIn(lookUps(both), HONEST)).toBe(HONEST)
    expect(await resolveIn(lookUps({ [OTHER]: ['mallory'] }, both), HONEST)).toBe(HONEST)
  })
})

describe('the names of a data folder', () => {
  test('are kept for each swarm in a file of its owner, and change only when they are set', () => {
    const folder = temporaryFolder('names')
    const names = new KnownNames(folder)
    expect(names.get('lab', 'facts')).toBeUndefined()
    names.set('lab', 'facts', HONEST)
    names.set('home', 'facts', OTHER)
    const again = new KnownNames(folder)
    expect(again.get('lab', 'facts')).toBe(HONEST)
    expect(again.get('home', 'facts')).toBe(OTHER)
    expect(statSync(again.path).mode & 0o777).toBe(0o600)
    again.set('lab', 'facts', OTHER)
    expect(names.get('lab', 'facts')).toBe(OTHER)
  })
})
