import { readFile, writeFile } from 'node:fs/promises'
import { HearthError, messageOf } from '../../src/base/errors.ts'
import { numberOption } from '../../src/base/number-option.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { Law } from '../churn/distribution.ts'
import { writeChurnLog } from '../traces/churn-log.ts'
import { ENDS_MIN } from '../traces/fit.ts'
import { readTrace, type TraceFormat } from '../traces/formats.ts'
import type { TraceUnit } from '../traces/trace-text.ts'
import { summarise, type SpellSummary, type TraceSummary } from '../traces/summary.ts'
import type { Trace } from '../traces/trace.ts'
import type { Output } from './run-command.ts'

export interface TraceOptions {
  format?: TraceFormat
  unit?: TraceUnit
  seed: string
}

/** `hearth sim import`: writes any trace as a churn log. */
export async function importCommand(
  file: string,
  options: TraceOptions & { output: string },
  output: Output,
): Promise<number> {
  const trace = await readTraceFile(file, options)
  try {
    await writeFile(options.output, writeChurnLog(trace))
  } catch (cause) {
    throw new HearthError(
      'output-unwritable',
      `Cannot write the churn log: ${messageOf(cause)}. Choose another file with -o`,
      { cause },
    )
  }
  output.print(output.isJson ? { output: options.output, events: trace.events.length } : options.output)
  return 0
}

/** `hearth sim fit`: models fitted to a trace, and the best as a scenario's `churn`. */
export async function fitCommand(
  file: string,
  options: TraceOptions & { together: string },
  output: Output,
): Promise<number> {
  const togetherMs = 1_000 * numberOption('--together', options.together, { least: 0, unit: 'seconds' })
  const summary = summarise(await readTraceFile(file, options), togetherMs)
  if (output.isJson) output.print(summary)
  else for (const line of describe(summary)) output.print(line)
  return 0
}

async function readTraceFile(file: string, { format, unit, seed }: TraceOptions): Promise<Trace> {
  const random = seededRandom(numberOption('--seed', seed, { isWhole: true, least: 0 }))
  return readTrace(await readText(file), { format, unit, random, file })
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new HearthError('usage', `Cannot read the trace: ${messageOf(cause)}`, { cause })
  }
}

function describe({ peers, hours, availability, sessions, absences, losses }: TraceSummary): string[] {
  const { perPeerHour, sizeMedian, size90, sizeMax } = losses
  const comesBack = absences.ended > 0
  return [
    `${peers} peers over ${hours.toFixed(1)} h, ${comesBack ? `up ${(100 * availability).toFixed(1)} % of the time` : 'none of which came back under its name'}`,
    `lost ${perPeerHour.toFixed(3)} times per hour up; at one moment: median ${digits(sizeMedian)}, 90 % ${digits(size90)}, most ${sizeMax}`,
    ...describeFits('sessions', sessions),
    ...describeFits('absences', absences),
    '',
    'as a part of a scenario (the best fit of each):',
    '  churn:',
    ...yamlOf('up', sessions),
    ...yamlOf('down', absences),
  ]
}

function describeFits(what: string, { count, ended, fits }: SpellSummary): string[] {
  const head = `${what}: ${count}, of which ${ended} were seen to end`
  if (fits.length === 0) return ['', `${head}: too few to fit (at least ${ENDS_MIN})`]
  const rows = fits.map(
    ({ law, aic, ksDistance }) =>
      `  ${law.kind.padEnd(18)} ${parametersOf(law).padEnd(52)} AIC ${aic.toFixed(1).padStart(10)}   KS ${ksDistance.toFixed(3)}`,
  )
  return ['', `${head}; in hours, best first:`, ...rows]
}

function parametersOf(law: Law): string {
  switch (law.kind) {
    case 'constant':
      return String(law.value)
    case 'exponential':
      return `mean ${digits(law.mean)}`
    case 'weibull':
      return `shape ${digits(law.shape)}, scale ${digits(law.scale)}`
    case 'log-normal':
      return `median ${digits(Math.exp(law.mu))}, sigma ${digits(law.sigma)}`
    default:
      return law.phases.map(({ share, mean }) => `${digits(100 * share)} % mean ${digits(mean)}`).join(', ')
  }
}

function yamlOf(name: 'up' | 'down', { fits: [best] }: SpellSummary): string[] {
  return best === undefined ? [] : [`    ${name}: ${lawAsYaml(best.law)}`]
}

/** As the scenario schema has it: lengths in hours. */
function lawAsYaml(law: Law): string {
  switch (law.kind) {
    case 'constant':
      return `{ constantH: ${digits(law.value)} }`
    case 'exponential':
      return `{ exponentialH: ${digits(law.mean)} }`
    case 'weibull':
      return `{ weibull: { shape: ${digits(law.shape)}, scaleH: ${digits(law.scale)} } }`
    case 'log-normal':
      return `{ logNormal: { medianH: ${digits(Math.exp(law.mu))}, sigma: ${digits(law.sigma)} } }`
    default: {
      const phases = law.phases.map(
        ({ share, mean }) => `{ share: ${digits(share)}, meanH: ${digits(mean)} }`,
      )
      return `{ hyperExponential: [${phases.join(', ')}] }`
    }
  }
}

function digits(value: number): string {
  return String(Number(value.toPrecision(4)))
}
