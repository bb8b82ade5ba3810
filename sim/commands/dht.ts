import { HearthError } from '../../src/base/errors.ts'
import { numberOption } from '../../src/base/number-option.ts'
import { PLAIN_DEPARTURE, type ChurnModel } from '../churn/churn-model.ts'
import { SESSION_PRESETS } from '../churn/presets.ts'
import { asScenario, summariseDht, type DhtSummary } from '../dht/dht-summary.ts'
import { DHT_DEFAULTS, DhtWorld } from '../dht/dht-world.ts'
import type { Output } from './run-command.ts'

export interface DhtCommandOptions {
  peers: string
  preset: string
  minutes: string
  dialTimeout: string
  seed: string
}

/** Beyond this, tables and messages are too many for one run to be worth its time. */
const PEERS_MAX = 5_000
const PEERS_MIN = 10

/** `hearth sim dht`: the DHT message by message, and what it says for a scenario's `dht` section. */
export function dhtCommand(options: DhtCommandOptions, output: Output): Promise<number> {
  const peers = numberOption('--peers', options.peers, { isWhole: true, least: PEERS_MIN, most: PEERS_MAX })
  const measuredMs = numberOption('--minutes', options.minutes, { isWhole: true, least: 1 }) * 60_000
  const world = new DhtWorld({
    ...DHT_DEFAULTS,
    peers,
    churn: churnOf(options.preset),
    dialTimeoutMs: numberOption('--dial-timeout', options.dialTimeout, { isWhole: true, least: 1 }),
    seed: numberOption('--seed', options.seed, { isWhole: true, least: 0 }),
    untilMs: DHT_DEFAULTS.settleMs + measuredMs,
  })
  const summary = summariseDht(world.run())
  if (output.isJson) output.print(summary)
  else for (const line of describe(summary)) output.print(line)
  return Promise.resolve(0)
}

function churnOf(name: string): ChurnModel {
  const preset = SESSION_PRESETS[name]
  if (preset === undefined) throw new HearthError('internal', `no preset is called "${name}"`)
  const { up, down } = preset
  return { sessions: { up, down, start: 'stationary', departure: PLAIN_DEPARTURE } }
}

function describe(summary: DhtSummary): string[] {
  const { livePeers, finds, success, findMs, questionsPerFind, staleShare, provideMs } = summary
  const ms = (value: number): string => `${Math.round(value)} ms`
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
  return [
    `${Math.round(livePeers)} peers up on average; ${summary.questions} questions, ${percent(summary.unansweredShare)} of them to peers that were gone`,
    `finding a holder: ${finds} times, ${percent(success)} named one that is up; half within ${ms(findMs.p50)}, 95 % within ${ms(findMs.p95)}, all within ${ms(findMs.max)}; ${questionsPerFind.toFixed(1)} questions`,
    `named holders that were gone: ${percent(staleShare)}`,
    `telling the closest peers: half within ${ms(provideMs.p50)}, 95 % within ${ms(provideMs.p95)}`,
    '',
    'as a part of a scenario:',
    ...asScenario(summary, DHT_DEFAULTS.recordMs).map((line) => `  ${line}`),
  ]
}
