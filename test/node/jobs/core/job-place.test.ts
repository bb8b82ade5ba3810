import { describe, expect, test } from 'vitest'
import { pick, randomInteger, seededRandom, type Random } from '../../../../src/base/random.ts'
import {
  answerTransfer,
  confirmed,
  giveUp,
  mayRun,
  nextTransfer,
  type JobPlace,
  type TransferRequest,
} from '../../../../src/node/jobs/core/job-place.ts'

/** One machine: what is on its disk, and what a crash takes. */
interface Machine {
  id: string
  place: JobPlace | undefined
  /** Results in its journal; a copy has those of the moment when it was begun. */
  results: number
  arrivingResults: number
  /** The move that a process here has under way; it holds the job's lock meanwhile. */
  move: { to: string; transfer: number; step: 'offer' | 'take' } | undefined
}

interface Letter {
  from: string
  to: string
  request: TransferRequest
  /** The journal's results, which an offer carries. */
  results: number
  isAnswer: boolean
}

/** Machines that move one job among them, over a network that loses, delays and repeats messages. */
class World {
  readonly machines: Machine[]
  readonly random: Random
  letters: Letter[] = []

  constructor(random: Random, count: number) {
    this.random = random
    this.machines = Array.from({ length: count }, (_, index) => ({
      id: `m${index}`,
      place: undefined,
      results: 0,
      arrivingResults: 0,
      move: undefined,
    }))
    this.machines[0]!.place = { kind: 'here', transfer: 0 }
  }

  of(id: string): Machine {
    return this.machines.find((machine) => machine.id === id)!
  }

  /** Machines whose place lets them run the job; "nothing" is not a job. */
  holders(): Machine[] {
    return this.machines.filter(({ place }) => place !== undefined && mayRun(place))
  }

  begin(machine: Machine): void {
    if (!this.holders().includes(machine) || machine.move !== undefined) return
    const to = pick(
      this.random,
      this.machines.filter((other) => other !== machine),
    )!.id
    const place = nextTransfer(machine.place)!
    machine.place = place
    const { transfer } = place
    machine.move = { to, transfer, step: 'offer' }
    this.send(machine, to, { type: 'offer', transfer })
  }

  /** Work while no move holds the lock. */
  run(machine: Machine): void {
    if (this.holders().includes(machine) && machine.move === undefined) machine.results += 1
  }

  /** A process that starts again, or a command that is typed again. */
  resend(machine: Machine): void {
    const { place, move } = machine
    if (place?.kind === 'moved' && !place.isConfirmed)
      this.send(machine, place.to, { type: 'release', transfer: place.transfer })
    if (move !== undefined) this.send(machine, move.to, { type: move.step, transfer: move.transfer })
  }

  crash(machine: Machine): void {
    machine.move = undefined
  }

  deliver(letter: Letter): void {
    const machine = this.of(letter.to)
    if (letter.isAnswer) return this.onAnswer(machine, letter)
    const verdict = answerTransfer(machine.place, letter.from, letter.request)
    if (verdict.kind === 'refused') return
    const before = machine.place
    machine.place = verdict.place
    if (letter.request.type === 'offer') machine.arrivingResults = letter.results
    if (letter.request.type === 'take' && before?.kind === 'arriving')
      machine.results = machine.arrivingResults
    this.letters.push({ ...letter, from: letter.to, to: letter.from, isAnswer: true })
  }

  onAnswer(machine: Machine, { request: { type, transfer } }: Letter): void {
    const { place, move } = machine
    if (type === 'release' && place !== undefined) machine.place = confirmed(place, transfer)
    if (move === undefined || move.transfer !== transfer || move.step !== type) return
    if (type === 'offer') {
      move.step = 'take'
      return this.send(machine, move.to, { type: 'take', transfer })
    }
    machine.move = undefined
    const given = giveUp(place, move.to, transfer)
    if (given === undefined) throw new Error('a move of a job that is not here')
    machine.place = given
    this.send(machine, move.to, { type: 'release', transfer })
  }

  send(machine: Machine, to: string, request: TransferRequest): void {
    this.letters.push({ from: machine.id, to, request, results: machine.results, isAnswer: false })
  }

  step(): void {
    const machine = pick(this.random, this.machines)!
    const dice = randomInteger(this.random, 20)
    if (dice === 0) this.begin(machine)
    else if (dice === 1) this.crash(machine)
    else if (dice < 5) this.run(machine)
    else if (dice < 7) this.resend(machine)
    else if (this.letters.length > 0) {
      const [letter] = this.letters.splice(randomInteger(this.random, this.letters.length), 1)
      const fate = randomInteger(this.random, 10)
      if (fate === 0) return
      if (fate === 1) this.letters.push(letter!)
      this.deliver(letter!)
    }
  }

  /** Until all is delivered and confirmed: what happens once nothing fails any more. */
  heal(): void {
    for (const machine of this.machines) this.crash(machine)
    for (let round = 0; round < 20; round += 1) {
      for (const machine of this.machines) this.resend(machine)
      for (let letter = this.letters.shift(); letter !== undefined; letter = this.letters.shift())
        this.deliver(letter)
    }
  }
}

describe('a job that is moved', () => {
  test('runs at one machine at most, loses no result, and runs at one when all is over: 3,000 histories', () => {
    let moves = 0
    for (let seed = 1; seed <= 3_000; seed += 1) {
      const world = new World(seededRandom(seed), 2 + (seed % 3))
      let most = 0
      for (let count = 0; count < 120; count += 1) {
        world.step()
        const holders = world.holders()
        if (holders.length > 1) throw new Error(`seed ${seed}: ${holders.map(({ id }) => id).join()} run it`)
        const [holder] = holders
        if (holder === undefined) continue
        if (holder.results < most) throw new Error(`seed ${seed}: ${most - holder.results} results are lost`)
        most = holder.results
      }
      world.heal()
      const holders = world.holders()
      expect([seed, holders.length, holders[0]?.results]).toEqual([seed, 1, most])
      moves += world.machines.filter(({ place }) => place?.kind === 'moved').length
    }
    expect(moves).toBeGreaterThan(1_000)
  })

  test('is at one place after a crash at each step of one move', () => {
    for (let crashAt = 0; crashAt < 8; crashAt += 1) {
      const world = new World(seededRandom(1), 2)
      const [source] = world.machines as [Machine]
      world.run(source)
      world.begin(source)
      for (let step = 0; step < crashAt; step += 1) {
        const letter = world.letters.shift()
        if (letter !== undefined) world.deliver(letter)
      }
      world.letters = []
      world.heal()
      expect([crashAt, world.holders().map(({ results }) => results)]).toEqual([crashAt, [1]])
    }
  })
})

describe('a transfer', () => {
  const FROM = 'laptop'
  const here: JobPlace = { kind: 'here', transfer: 0 }
  const taken: JobPlace = { kind: 'taken', from: FROM, transfer: 5 }

  test.each<[string, JobPlace | undefined, TransferRequest, string]>([
    ['of a job that runs here', here, { type: 'offer', transfer: 1 }, 'runs here already'],
    ['of a stale copy', taken, { type: 'release', transfer: 6 }, 'no job has arrived'],
    ['that was never offered', undefined, { type: 'take', transfer: 1 }, 'not under way'],
    ['of another peer', { ...taken, from: 'other' }, { type: 'release', transfer: 5 }, 'no job has arrived'],
    ['that is late', taken, { type: 'offer', transfer: 4 }, 'a newer transfer'],
  ])('%s is refused', (_what, place, request, words) => {
    expect(answerTransfer(place, FROM, request)).toEqual({
      kind: 'refused',
      words: expect.stringContaining(words) as string,
    })
  })
})
