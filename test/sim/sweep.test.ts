import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Output } from '../../sim/commands/run-command.ts'
import { sweepCommand } from '../../sim/commands/sweep.ts'
import { combinationsOf, gridOf } from '../../sim/sweep/grid.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const folder = temporaryFolder('sweep')

describe('a grid', () => {
  test('is every combination of the values, the last setting varying fastest', () => {
    const grid = gridOf('pv4', ['mode=none,pervasive', 'batch=10,100', 'horizonS=500'])
    expect(combinationsOf(grid)).toEqual([
      ['mode=none', 'batch=10', 'horizonS=500'],
      ['mode=none', 'batch=100', 'horizonS=500'],
      ['mode=pervasive', 'batch=10', 'horizonS=500'],
      ['mode=pervasive', 'batch=100', 'horizonS=500'],
    ])
  })

  test('does not part values at commas within braces', () => {
    const grid = gridOf('pv4', ['peers.0.device={ A10: 1, H100: 2 },A10'])
    expect(combinationsOf(grid)).toEqual([['peers.0.device={"A10":1,"H100":2}'], ['peers.0.device=A10']])
  })

  test('of a file has what the file fixes, and what the command line says instead', () => {
    const file = join(folder, 'grid.yaml')
    writeFileSync(
      file,
      'scenario: pv4\nreps: 2\nset: { horizonS: 500 }\nvary:\n  mode: [none, partial]\n  batch: [10, 100]\n',
    )
    const grid = gridOf(file, ['batch=7'])
    expect(grid.reps).toBe(2)
    expect(combinationsOf(grid)).toEqual([
      ['horizonS=500', 'mode=none', 'batch=7'],
      ['horizonS=500', 'mode=partial', 'batch=7'],
    ])
  })

  test('says what is wrong with it, and where', () => {
    const file = join(folder, 'wrong.yaml')
    writeFileSync(file, 'scenario: pv4\nvary:\n  batch: 10\n')
    expect(() => gridOf(file, [])).toThrow(/wrong\.yaml:3: vary\.batch/)
    expect(() => gridOf('pv4', ['batch'])).toThrow(/"batch" is not that/)
    expect(() => gridOf('pv4', ['batch=10'])).toThrow(/The sweep varies no setting/)
    const many = Array.from({ length: 101 }, (_, value) => value).join(',')
    expect(() => combinationsOf(gridOf('pv4', [`batch=${many}`, `fanOut=${many}`]))).toThrow(
      /more than the limit of 10000/,
    )
  })
})

describe('a sweep', () => {
  const said: object[] = []
  const output: Output = {
    isJson: true,
    isInteractive: false,
    print: (line) => said.push(line as object),
    note() {},
    progress() {},
  }
  const sweep = (set: string[]): Promise<number> =>
    sweepCommand(
      'pv4',
      {
        set: ['jobs.0.inferences=400', 'peers.0.count=2', 'peers.1.count=0', ...set],
        jobs: '1',
        out: folder,
      },
      output,
    )

  test('goes on where it was broken off, and leaves a row for every run', async () => {
    expect(await sweep(['batch=50,100'])).toBe(0)
    // What is there is marked, so that it would show if it was run again.
    const [file = ''] = globSync(join(folder, 'runs/*batch-50*/seed-1/run.json'))
    const run = JSON.parse(readFileSync(file, 'utf8')) as { makespanS: number }
    writeFileSync(file, JSON.stringify({ ...run, makespanS: 12_345 }))
    expect(await sweep(['batch=50,100,200'])).toBe(0)
    const { runs } = said.at(-1) as { runs: { set: object; measures: Record<string, number> }[] }
    expect(runs.map(({ set }) => set)).toMatchObject([{ batch: 50 }, { batch: 100 }, { batch: 200 }])
    expect(runs.map(({ measures }) => measures['makespan, s'] === 12_345)).toEqual([true, false, false])
    const rows = readFileSync(join(folder, 'sweep.csv'), 'utf8').trim().split('\n')
    expect(rows).toHaveLength(4)
    expect(rows[0]).toMatch(/^jobs\.0\.inferences,.*,batch,seed,"makespan, s",/)
  })

  test('is refused as a whole when one of its values cannot be', async () => {
    await expect(sweep(['batch=50,none'])).rejects.toThrow(/--set batch/)
  })
})
