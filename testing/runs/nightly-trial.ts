/** One run of a night: what it runs, and the seed that repeats it. */
export interface Trial {
  what: string
  seed: number
  /** The arguments of node. */
  command: string[]
}

/** A round of chaos takes a minute or more, and most scenarios a few seconds. */
const SCENARIOS_A_CHAOS_ROUND = 8

/** The trial of a turn: scenarios one after the other, and a round of chaos after every eighth. */
export function nightlyTrial(scenarios: readonly string[], turn: number, seed: number): Trial {
  const period = SCENARIOS_A_CHAOS_ROUND + 1
  const place = turn % period
  if (place === SCENARIOS_A_CHAOS_ROUND) {
    const command = ['test/chaos/main.ts', '--rounds', '1', '--seed', String(seed), '--json']
    return { what: 'chaos', seed, command }
  }
  const index = Math.floor(turn / period) * SCENARIOS_A_CHAOS_ROUND + place
  const what = scenarios[index % scenarios.length]
  if (what === undefined) throw new TypeError('a night needs scenarios')
  const out = `out/nightly/${what}`
  const command = ['bin/hearth.js', 'sim', 'run', what, '--seed', String(seed), '--out', out]
  return { what, seed, command }
}
