import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { loadScenario } from '../../sim/scenarios/load.ts'
import { runOnce } from '../../sim/runs/run.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

let folder: string
beforeEach(() => {
  folder = temporaryFolder('scenario')
})

/** The path of a scenario that is written in a folder of its own. */
function write(name: string, text: string): string {
  const file = join(folder, `${name}.yaml`)
  writeFileSync(file, text)
  return file
}

describe('a scenario that extends another', () => {
  test('finds shipped ones from any folder, and a file beside it first', () => {
    for (const base of ['pv4', 'static-control'])
      expect(
        loadScenario(write('own', `title: own\nextends: ${base}\njobs: [{ inferences: 5 }]\n`)).scenario,
      ).toMatchObject({
        title: 'own',
        jobs: [{ inferences: 5 }],
      })
    write('pv4', 'title: beside\nextends: static-control\nhorizonS: 77\n')
    for (const base of ['pv4', './pv4.yaml'])
      expect(loadScenario(write('own', `title: own\nextends: ${base}\n`)).scenario.horizonS).toBe(77)
  })

  test('is refused with the file and the line when there is none, or when it extends itself', () => {
    const own = write('own', 'title: own\nextends: nowhere\n')
    expect(() => loadScenario(own)).toThrow(
      `${own}:2: no file beside it and no shipped scenario is named "nowhere"`,
    )
    const [one, two] = [write('one', 'title: a\nextends: two\n'), write('two', 'title: b\n\nextends: one\n')]
    expect(() => loadScenario(one)).toThrow(`${two}:3: the scenario extends itself: ${one} → ${two} → ${one}`)
  })

  test('names the file at fault, which may be the base', () => {
    const base = write('base', 'title: base\nextends: pv4\n\nhorizonS: soon\n')
    const own = write('own', 'title: own\nextends: base\n')
    expect(() => loadScenario(own)).toThrow(`${base}:4: horizonS`)
    write('base', 'title: base\nextends: pv4\n\nhorizonS: [1\n')
    expect(() => loadScenario(own)).toThrow(`${base}:`)
    write('base', '')
    expect(() => loadScenario(own)).toThrow(`${base}:1: it is no map of settings`)
    expect(() => loadScenario(folder)).toThrow(`Cannot read the scenario ${folder}`)
  })

  test('names the trace that it plays, and the line', () => {
    const trace = join(folder, 't.csv')
    writeFileSync(trace, 'host,on,off\nA,0,100\nA,90,80\n')
    const own = write(
      'own',
      'title: own\nextends: static-control\nhorizonS: 60\njobs: [{ inferences: 1 }]\npeers: [{ name: a, count: 1, device: A10, upMbps: 100, downMbps: 100, churn: { trace: t.csv } }]\n',
    )
    expect(() => runOnce({ scenario: own, settings: [], seed: 1 })).toThrow(`${trace}: line 3 of the trace`)
  })
})

test('a batch counts inferences, however many a request stands for', () => {
  const settings = ['batch=7500', 'jobs.0.inferences=20000', 'peers.0.count=2', 'peers.1.count=1']
  for (const mode of ['none', 'pervasive'])
    for (const per of [1, 10]) {
      const { tasks } = runOnce({
        scenario: 'pv4',
        settings: [...settings, `mode=${mode}`, `inferencesPerRequest=${per}`, 'horizonS=100000'],
        seed: 1,
      })
      expect([mode, per, tasks.count]).toEqual([mode, per, 3])
    }
})
