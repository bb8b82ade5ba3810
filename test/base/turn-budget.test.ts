import { expect, test } from 'vitest'
import { nextTurn } from '../../src/base/event-loop.ts'
import { TurnBudget, type TurnSource } from '../../src/base/turn-budget.ts'

class Source implements TurnSource {
  readonly calls: string[] = []

  pauseForTurn(): void {
    this.calls.push('pause')
  }

  resumeAfterTurn(): void {
    this.calls.push('resume')
  }
}

test('sources bring no more in one turn than may come, all together, and go on in the next', async () => {
  const budget = new TurnBudget(100)
  const [first, second] = [new Source(), new Source()]
  budget.spend(first, 60)
  expect(first.calls).toEqual([])
  budget.spend(second, 40)
  budget.spend(second, 10)
  budget.spend(first, 10)
  expect([first.calls, second.calls]).toEqual([['pause'], ['pause']])
  await nextTurn()
  expect([first.calls, second.calls]).toEqual([
    ['pause', 'resume'],
    ['pause', 'resume'],
  ])
  budget.spend(first, 60)
  expect(first.calls).toHaveLength(2)
})

test('bytes that a source brings while it is resumed count for the new turn', async () => {
  const budget = new TurnBudget(100)
  const source = new Source()
  source.resumeAfterTurn = () => {
    source.calls.push('resume')
    if (source.calls.length < 6) budget.spend(source, 100)
  }
  budget.spend(source, 100)
  for (let turn = 0; turn < 4; turn += 1) await nextTurn()
  expect(source.calls).toEqual(['pause', 'resume', 'pause', 'resume', 'pause', 'resume'])
})
