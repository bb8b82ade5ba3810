// How well does a swarm distribute a context? Each peer is a process of its own. Uplinks are capped in network
// namespaces, for us and for aria2 alike; that part needs root.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { LlamaShape } from '../src/inference/graph/llama-weights.ts'
import { modelFiles, writeFiles } from '../testing/sharing-peers.ts'
import { writeRandomContext } from './support/random-context.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric, type Wanted } from './support/harness.ts'
import { aria2Seconds, hasAria2 } from './transfer/aria2.ts'
import { Namespaces } from './transfer/namespaces.ts'
import { runOrigin } from './transfer/origin-run.ts'
import { type Places, thisMachine } from './transfer/places.ts'
import { sharedRatio } from './transfer/shared-run.ts'
import { runSwarm, type SwarmOutcome, type SwarmRunOptions } from './transfer/swarm-run.ts'
import { newFolder } from '../testing/folders/new-folder.ts'

const MIB = 1024 * 1024
const UPLINK_BYTES_PER_SECOND = 5 * MIB
const SLOW_BYTES_PER_SECOND = 64 * 1024
const FETCHERS = 4
/** Sources of one fetcher where some of them misbehave. */
const SOURCES = 4
/** Peers that add the same model of a hub, its size, and how long the hub takes to send it. */
const SEEKERS = 10
/** 16 million weights, 64 MiB. */
const SOUGHT: LlamaShape = {
  layers: 8,
  hidden: 384,
  intermediate: 1_024,
  heads: 6,
  keyValueHeads: 6,
  headSize: 64,
  vocabulary: 4_096,
  positionsMax: 512,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}
const SOUGHT_QUICK: LlamaShape = { ...SOUGHT, layers: 1 }
const HUB_SECONDS = 10

/** Figures by name, gathered over the runs. */
class Figures {
  readonly #wanted = new Map<string, Wanted>()
  readonly #values = new Map<string, number[]>()

  add(wanted: Wanted, value: number): void {
    this.#wanted.set(wanted.name, wanted)
    this.#values.set(wanted.name, [...(this.#values.get(wanted.name) ?? []), value])
  }

  metrics(): Metric[] {
    return [...this.#wanted].map(([name, wanted]) => metricOf(wanted, this.#values.get(name) ?? []))
  }
}

const lower = (name: string, unit: string, bound?: number, toward?: number): Wanted => ({
  name,
  unit,
  better: 'lower',
  ...(bound === undefined ? {} : { bound }),
  ...(toward === undefined ? {} : { toward }),
})
const higher = (name: string, bound: number, toward: number): Wanted => ({
  name,
  unit: '×',
  better: 'higher',
  bound,
  toward,
})

class Swarms {
  readonly #options: BenchOptions
  readonly #folder: string
  readonly #bytes: number
  readonly #figures = new Figures()
  #model = ''
  #hash = ''
  #runs = 0

  constructor(options: BenchOptions, folder: string) {
    this.#options = options
    this.#folder = folder
    this.#bytes = (options.quick ? 16 : 256) * MIB
  }

  async run(): Promise<Metric[]> {
    this.#model = await writeFiles(join(this.#folder, 'model'), modelFiles('bench', this.#bytes))
    this.#hash = createHash('sha256').update(readFileSync(this.#file)).digest('hex')
    const parts: [string, () => Promise<void>][] = [
      ['uncapped', () => this.#uncapped()],
      ['capped', () => this.#inNamespaces(1 + FETCHERS, (places) => this.#capped(places))],
      ['limited', () => this.#limited()],
      ['killed', () => this.#inNamespaces(1 + FETCHERS, (places) => this.#seedKilled(places))],
      ['faults', () => this.#inNamespaces(SOURCES + 1, (places) => this.#faults(places))],
      ['shared', () => this.#shared()],
      ['origin', () => this.#origin()],
      ['liar', () => this.#inNamespaces(1 + FETCHERS, (places) => this.#liar(places))],
    ]
    for (const [name, part] of parts) {
      if (this.#options.only !== undefined && this.#options.only !== name) continue
      for (let run = 0; run < this.#options.runs; run += 1) await part()
    }
    return this.#figures.metrics()
  }

  get #file(): string {
    return join(this.#model, 'onnx/model.onnx_data')
  }

  async #shared(): Promise<void> {
    const folder = join(this.#folder, `run-${(this.#runs += 1)}`)
    const ratio = await sharedRatio(folder, this.#bytes / 2)
    rmSync(folder, { recursive: true, force: true })
    this.#figures.add(
      lower('second context with the tokenizer and one of two shards: bytes sent over new ones', '×', 1.01),
      ratio,
    )
  }

  /** Peers of a swarm that add the same model of a hub at once. */
  async #origin(): Promise<void> {
    const folder = join(this.#folder, `run-${(this.#runs += 1)}`)
    const model = join(folder, 'model')
    // `context add` opens the model, so it must be a real one.
    writeRandomContext(model, this.#options.quick ? SOUGHT_QUICK : SOUGHT)
    const paths = readdirSync(model, { recursive: true, encoding: 'utf8' }).filter((path) =>
      path.includes('.'),
    )
    const bytesPerSecond = statSync(join(model, 'onnx/model.onnx_data')).size / HUB_SECONDS
    const options = {
      folder,
      model,
      paths,
      peers: this.#options.quick ? 3 : SEEKERS,
      bytesPerSecond,
    }
    const { originShare, seconds, contextIds } = await runOrigin(options)
    this.#options.note(
      `${options.peers} peers add it at once: ${originShare.toFixed(3)} F from the origin, ${new Set(contextIds).size} context, ${seconds.toFixed(1)} s`,
    )
    rmSync(folder, { recursive: true, force: true })
    this.#figures.add(
      lower('bytes read from the origin, 10 peers joining together', 'F', 1.1, 1),
      originShare,
    )
  }

  async #inNamespaces(count: number, work: (places: Namespaces) => Promise<void>): Promise<void> {
    const places = Namespaces.create(count)
    if (places === undefined) return this.#options.note('capped uplinks need root: left out')
    try {
      await work(places)
    } finally {
      places.remove()
    }
  }

  /** One seed and four that fetch, nothing capped: on a machine with few cores it is their work that counts. */
  async #uncapped(): Promise<void> {
    const swarm = { places: thisMachine, holders: 1, fetchers: FETCHERS }
    const direct = await this.#swarm('uncapped, direct lane', { ...swarm, directLane: true })
    const aria2 = await this.#aria2(thisMachine)
    const libp2p = await this.#swarm('uncapped, libp2p', { ...swarm, directLane: false })
    const gigabytes = (FETCHERS * this.#bytes) / 1e9
    this.#figures.add(
      lower('CPU of all peers for each GB delivered, direct lane', 's'),
      direct.cpuSeconds / gigabytes,
    )
    this.#figures.add(
      lower('CPU of all peers for each GB delivered, libp2p', 's'),
      libp2p.cpuSeconds / gigabytes,
    )
    if (aria2 === undefined) return
    this.#figures.add(higher('aria2’s time over ours, uncapped, direct lane', 1, 1.5), aria2 / direct.seconds)
    this.#figures.add(higher('aria2’s time over ours, uncapped, libp2p', 0.35, 0.6), aria2 / libp2p.seconds)
  }

  async #capped(places: Namespaces): Promise<void> {
    this.#capAll(places, 1 + FETCHERS)
    const swarm = { places, holders: 1, fetchers: FETCHERS }
    const ours = await this.#swarm('capped', { ...swarm, directLane: true })
    const aria2 = await this.#aria2(places)
    const [seedBytes = 0] = ours.sentBytes
    const delivered = FETCHERS * this.#bytes
    this.#figures.add(
      lower('capped: time over its lower bound', '×', 1.15, 1.05),
      ours.seconds / this.#boundSeconds(),
    )
    this.#figures.add(lower('capped: bytes that the seed sends', 'F', 1.25, 1.1), seedBytes / this.#bytes)
    this.#figures.add(
      lower('capped: bytes sent twice', '', 0.03, 0.01),
      (ours.allSentBytes - delivered) / delivered,
    )
    this.#figures.add(
      lower('most memory of a peer', 'MB', 250, 150),
      Math.max(...ours.residentBytesMax) / 1e6,
    )
    if (aria2 !== undefined)
      this.#figures.add(higher('capped: aria2’s time over ours', 1.25, 1.4), aria2 / ours.seconds)
  }

  /** The same with the upload limit that each program has itself, as an owner would set it. */
  async #limited(): Promise<void> {
    const swarm = { places: thisMachine, holders: 1, fetchers: FETCHERS, directLane: true }
    const ours = await this.#swarm('own limits', { ...swarm, uploadRate: UPLINK_BYTES_PER_SECOND })
    this.#figures.add(
      lower('own upload limits: time over its lower bound', '×', 1.15, 1.05),
      ours.seconds / this.#boundSeconds(),
    )
    const aria2 = await this.#aria2(thisMachine, UPLINK_BYTES_PER_SECOND)
    if (aria2 === undefined) return
    this.#figures.add(higher('own upload limits: aria2’s time over ours', 1.25, 1.4), aria2 / ours.seconds)
  }

  /** The lower bound of every distribution: the seed sends all of it once, and all uplinks together every copy. */
  #boundSeconds(): number {
    const uplinks = (1 + FETCHERS) * UPLINK_BYTES_PER_SECOND
    return Math.max(this.#bytes / UPLINK_BYTES_PER_SECOND, (FETCHERS * this.#bytes) / uplinks)
  }

  async #seedKilled(places: Namespaces): Promise<void> {
    this.#capAll(places, 1 + FETCHERS)
    const swarm = { places, holders: 1, fetchers: FETCHERS, directLane: true }
    const whole = await this.#swarm('seed stays', swarm)
    const killed = await this.#swarm('seed killed', { ...swarm, killAfterBytes: this.#bytes })
    this.#figures.add(
      lower('seed killed after 1.0 F: peers that do not finish', '', 0),
      this.#unfinished(killed),
    )
    this.#figures.add(
      lower('seed killed after 1.0 F: time over that with it', '×', 1.3),
      killed.seconds / whole.seconds,
    )
  }

  /** One that fetches from four sources, of which the last is slow, or corrupts what it sends. */
  async #faults(places: Namespaces): Promise<void> {
    this.#capAll(places, SOURCES + 1)
    const swarm = { places, holders: SOURCES, fetchers: 1, directLane: true }
    const without = await this.#swarm('three sources', { ...swarm, holders: SOURCES - 1 })
    places.cap(SOURCES - 1, SLOW_BYTES_PER_SECOND)
    const slow = await this.#swarm('one more at 64 KB/s', swarm)
    places.cap(SOURCES - 1, UPLINK_BYTES_PER_SECOND)
    this.#figures.add(
      lower('one source at 64 KB/s: time over that without it', '×', 1.1),
      slow.seconds / without.seconds,
    )
    for (const share of [1, 0.01]) {
      const name = `one of 4 sources corrupts ${share * 100} %`
      const faults = { [SOURCES - 1]: { kind: 'corrupt', share } } as const
      const outcome = await this.#swarm(name, { ...swarm, faults })
      this.#judge(name, outcome, without, SOURCES - 1)
      if (share < 1) continue
      const ban = outcome.banned.find(({ peer }) => peer === SOURCES - 1)
      this.#figures.add(
        lower(`${name}: corrupt chunks until it is banned`, '', 2),
        ban?.corruptChunks ?? Number.POSITIVE_INFINITY,
      )
    }
  }

  /** One seed and four that fetch, of which one says that it holds everything. */
  async #liar(places: Namespaces): Promise<void> {
    this.#capAll(places, 1 + FETCHERS)
    const swarm = { places, holders: 1, fetchers: FETCHERS, directLane: true }
    const without = await this.#swarm('nobody lies', swarm)
    const name = 'one of 4 lies about what it holds'
    const outcome = await this.#swarm(name, { ...swarm, faults: { [FETCHERS]: { kind: 'lie', share: 1 } } })
    this.#judge(name, outcome, without, FETCHERS)
  }

  #judge(name: string, outcome: SwarmOutcome, without: SwarmOutcome, culprit: number): void {
    const bad = outcome.hashes.filter((hash) => hash !== this.#hash).length
    const honest = outcome.banned.filter(({ peer }) => peer !== culprit).length
    this.#figures.add(lower(`${name}: files with a bad byte`, '', 0), bad)
    this.#figures.add(lower(`${name}: honest peers banned`, '', 0), honest)
    this.#figures.add(
      lower(`${name}: time over that without it`, '×', 1.2),
      outcome.seconds / without.seconds,
    )
  }

  #unfinished({ hashes }: SwarmOutcome): number {
    return FETCHERS - hashes.filter((hash) => hash === this.#hash).length
  }

  #capAll(places: Namespaces, count: number): void {
    for (let index = 0; index < count; index += 1) places.cap(index, UPLINK_BYTES_PER_SECOND)
  }

  async #swarm(name: string, swarm: Omit<SwarmRunOptions, 'folder' | 'model'>): Promise<SwarmOutcome> {
    const folder = join(this.#folder, `run-${(this.#runs += 1)}`)
    const outcome = await runSwarm({ ...swarm, folder, model: this.#model })
    const sent = outcome.sentBytes.map((bytes) => (bytes / this.#bytes).toFixed(2)).join(' ')
    this.#options.note(
      `${name}: ${outcome.seconds.toFixed(2)} s; holders sent ${sent} F; all sent ${(outcome.allSentBytes / this.#bytes).toFixed(3)} F; ${outcome.residentBytesMax.map((bytes) => (bytes / 1e6).toFixed(0)).join(' ')} MB`,
    )
    rmSync(folder, { recursive: true, force: true })
    return outcome
  }

  async #aria2(places: Places, uploadBytesPerSecond?: number): Promise<number | undefined> {
    if (!hasAria2()) {
      this.#options.note('there is no aria2 here: left out')
      return undefined
    }
    const folder = join(this.#folder, `run-${(this.#runs += 1)}`)
    const seconds = await aria2Seconds(places, {
      folder,
      file: this.#file,
      leechers: FETCHERS,
      uploadBytesPerSecond,
    })
    this.#options.note(`aria2: ${seconds.toFixed(2)} s`)
    rmSync(folder, { recursive: true, force: true })
    return seconds
  }
}

const bench: Bench = {
  question: 'How well does a swarm of five distribute a context, also among faults?',
  async run(options) {
    const folder = newFolder('bench')
    try {
      return await new Swarms(options, folder).run()
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}
export default bench
