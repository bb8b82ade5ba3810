// A small world in which the download core runs on virtual time: peers that are honest, corrupt, mute,
// slow, busy, refuse, or leave. It checks at every step what must hold whatever the peers do.
import { Bitfield } from '../../src/context-sharing/content/bitfield.ts'
import {
  type Download,
  type DownloadEffect,
  type DownloadEvent,
  newDownload,
  step,
} from '../../src/context-sharing/download/core/download.ts'
import { CHUNKS_REQUESTED_MAX, CHUNK_BYTES, FETCH_SOURCES_MAX } from '../../src/base/limits.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'

export type PeerKind = 'honest' | 'corrupt' | 'mute' | 'refusing' | 'busy' | 'leaving' | 'unreachable'

export interface WorldPeer {
  kind: PeerKind
  /** Part of the chunks that it has; an honest peer with 1 makes the download possible. */
  share: number
  bytesPerSecond: number
  latencyMs: number
}

export interface WorldOptions {
  chunks: number
  peers: WorldPeer[]
  seed: number
  unavailableAfterMs?: number
}

interface Scheduled {
  atMs: number
  order: number
  run: () => void
}

interface InFlight {
  sinceMs: number
  /** False once the core took it back; the bytes may still come. */
  isWanted: boolean
}

interface Node extends WorldPeer {
  id: string
  has: Bitfield
  session: number
  isOpen: boolean
  inFlight: Map<number, InFlight>
  freeAtMs: number
}

export interface WorldResult {
  outcome: 'complete' | 'give-up'
  reason: string
  elapsedMs: number
  banned: string[]
  requests: number
  corrupt: number
  deliveredBy: Map<string, number>
}

const HORIZON_MS = 6 * 3_600_000

export class DownloadWorld {
  readonly #options: WorldOptions
  readonly #random: Random
  readonly #coreRandom: Random
  readonly #nodes: Map<string, Node>
  readonly #download: Download
  readonly #verified = new Set<number>()
  readonly #banned: string[] = []
  readonly #corruptBy = new Map<string, number>()
  #queue: Scheduled[] = []
  #order = 0
  #nowMs = 0
  #requests = 0
  #outcome: { kind: 'complete' | 'give-up'; reason: string } | undefined

  constructor(options: WorldOptions) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    this.#coreRandom = seededRandom(options.seed + 1)
    this.#nodes = new Map(options.peers.map((peer, index) => [`peer-${index}`, this.#node(peer, index)]))
    const lengths = new Uint32Array(options.chunks).fill(CHUNK_BYTES)
    this.#download = newDownload(
      lengths,
      Array.from(lengths, (_length, chunk) => chunk),
      [],
      { unavailableAfterMs: options.unavailableAfterMs ?? 120_000 },
    )
  }

  run(): WorldResult {
    this.#dispatch({ kind: 'start' })
    const tick = (): void => {
      this.#dispatch({ kind: 'tick' })
      this.#at(250, tick)
    }
    this.#at(250, tick)
    while (this.#outcome === undefined) {
      const next = this.#next()
      if (next === undefined || next.atMs > HORIZON_MS)
        throw new Error(`nothing came of it by ${this.#nowMs} ms`)
      this.#nowMs = next.atMs
      next.run()
    }
    return {
      outcome: this.#outcome.kind,
      reason: this.#outcome.reason,
      elapsedMs: this.#nowMs,
      banned: this.#banned,
      requests: this.#requests,
      corrupt: [...this.#corruptBy.values()].reduce((sum, count) => sum + count, 0),
      deliveredBy: this.#download.delivered,
    }
  }

  #node(peer: WorldPeer, index: number): Node {
    const has = new Bitfield(this.#options.chunks)
    for (let chunk = 0; chunk < this.#options.chunks; chunk += 1) {
      if (this.#random.next() < peer.share) has.add(chunk)
    }
    return { ...peer, id: `peer-${index}`, has, session: 0, isOpen: false, inFlight: new Map(), freeAtMs: 0 }
  }

  #dispatch(event: DownloadEvent): void {
    const before = new Map([...this.#nodes].map(([id, node]) => [id, new Map(node.inFlight)]))
    const effects = step(this.#download, event, this.#nowMs, this.#coreRandom)
    for (const effect of effects) this.#perform(effect, before)
    this.#checkSources()
  }

  #perform(effect: DownloadEffect, before: Map<string, Map<number, InFlight>>): void {
    switch (effect.kind) {
      case 'find':
        return this.#at(50, () =>
          this.#dispatch({ kind: 'holders-found', peers: [...this.#nodes.keys()], wasAsked: true }),
        )
      case 'connect':
        return this.#connect(this.#nodeOf(effect.peer))
      case 'close':
        return this.#end(this.#nodeOf(effect.peer))
      case 'ban':
        this.#checkBan(effect.peer)
        return this.#end(this.#nodeOf(effect.peer))
      case 'request':
        for (const chunk of effect.chunks) this.#request(this.#nodeOf(effect.peer), chunk, before)
        return
      case 'cancel':
        for (const chunk of effect.chunks) {
          const inFlight = this.#nodeOf(effect.peer).inFlight.get(chunk)
          if (inFlight !== undefined) inFlight.isWanted = false
        }
        return
      case 'claim':
        return
      case 'complete':
        this.#check(this.#verified.size === this.#options.chunks, 'complete before every chunk was verified')
        this.#outcome = { kind: 'complete', reason: '' }
        return
      case 'give-up':
        this.#outcome = { kind: 'give-up', reason: effect.reason }
    }
  }

  #connect(node: Node): void {
    this.#check(!this.#banned.includes(node.id), `connects to ${node.id}, which is banned`)
    node.session += 1
    const { session } = node
    this.#at(node.latencyMs, () => {
      if (node.session !== session) return
      if (node.kind === 'unreachable') return this.#lose(node)
      node.isOpen = true
      node.freeAtMs = this.#nowMs
      this.#dispatch({ kind: 'source-open', peer: node.id, has: node.has, roundTripMs: node.latencyMs })
      if (node.kind === 'leaving') {
        this.#at(2000 * this.#random.next(), () => node.session === session && this.#lose(node))
      }
    })
  }

  #lose(node: Node): void {
    this.#end(node)
    this.#dispatch({ kind: 'source-lost', peer: node.id, reason: 'it left' })
  }

  #end(node: Node): void {
    node.session += 1
    node.isOpen = false
    node.inFlight.clear()
  }

  #request(node: Node, chunk: number, before: Map<string, Map<number, InFlight>>): void {
    this.#requests += 1
    this.#check(node.isOpen, `asks ${node.id}, which is not open`)
    this.#check(node.has.has(chunk), `asks ${node.id} for chunk ${chunk}, which it does not have`)
    this.#check(!this.#verified.has(chunk), `asks for chunk ${chunk}, which is here`)
    this.#check(node.inFlight.get(chunk)?.isWanted !== true, `asks ${node.id} twice for chunk ${chunk}`)
    this.#checkCause(node, chunk, before)
    node.inFlight.set(chunk, { sinceMs: this.#nowMs, isWanted: true })
    this.#answer(node, chunk)
  }

  /** A second copy needs a cause: the first is overdue, or it is in flight for a while and the end is near. */
  #checkCause(node: Node, chunk: number, before: Map<string, Map<number, InFlight>>): void {
    const others = [...this.#nodes.values()].filter((other) => {
      return other !== node && other.inFlight.get(chunk)?.isWanted === true
    })
    this.#check(others.length <= 1, `asks for a third copy of chunk ${chunk}`)
    for (const other of others) {
      const sinceMs = before.get(other.id)?.get(chunk)?.sinceMs ?? this.#nowMs
      const ageMs = this.#nowMs - sinceMs
      this.#check(
        ageMs > 4000 || (ageMs >= 500 && this.#download.pool.waitingCount === 0),
        `asks for a second copy of chunk ${chunk} after ${ageMs} ms without a cause`,
      )
    }
  }

  #answer(node: Node, chunk: number): void {
    const { session } = node
    const inThisSession = (run: () => void) => (): void => {
      if (node.session === session) run()
    }
    if (node.kind === 'mute') return
    if (node.kind === 'refusing') {
      return this.#at(
        node.latencyMs,
        inThisSession(() => this.#refuse(node, chunk)),
      )
    }
    if (node.kind === 'busy')
      return this.#at(
        node.latencyMs,
        inThisSession(() => this.#sayBusy(node)),
      )
    const transferMs = (CHUNK_BYTES * 1000) / node.bytesPerSecond
    node.freeAtMs = Math.max(node.freeAtMs, this.#nowMs + node.latencyMs) + transferMs
    const endMs = node.freeAtMs
    for (let slice = 1; slice <= 4; slice += 1) {
      const atMs = endMs - transferMs + (transferMs * slice) / 4
      this.#at(
        atMs - this.#nowMs,
        inThisSession(() => this.#deliver(node, chunk, slice)),
      )
    }
  }

  #deliver(node: Node, chunk: number, slice: number): void {
    this.#dispatch({ kind: 'bytes', peer: node.id, bytes: CHUNK_BYTES / 4 })
    if (slice < 4) return
    node.inFlight.delete(chunk)
    if (node.kind === 'corrupt') {
      this.#corruptBy.set(node.id, (this.#corruptBy.get(node.id) ?? 0) + 1)
      return this.#dispatch({ kind: 'chunk-corrupt', peer: node.id, chunk })
    }
    this.#verified.add(chunk)
    this.#dispatch({ kind: 'chunk-held', from: node.id, chunk })
  }

  #refuse(node: Node, chunk: number): void {
    node.inFlight.delete(chunk)
    this.#dispatch({ kind: 'chunks-refused', peer: node.id, chunks: [chunk] })
  }

  #sayBusy(node: Node): void {
    if (node.inFlight.size === 0) return
    node.inFlight.clear()
    this.#dispatch({ kind: 'source-busy', peer: node.id, chunks: [], retryMs: 300, alternatives: [] })
  }

  #checkBan(peer: string): void {
    const node = this.#nodeOf(peer)
    this.#check(node.kind === 'corrupt', `${peer} is banned, and is ${node.kind}`)
    this.#check((this.#corruptBy.get(peer) ?? 0) >= 2, `${peer} is banned after one bad chunk`)
    this.#banned.push(peer)
  }

  #checkSources(): void {
    this.#check(this.#download.sources.size <= FETCH_SOURCES_MAX, 'too many sources')
    for (const { requests, peer } of this.#download.sources.values()) {
      this.#check(requests.size <= CHUNKS_REQUESTED_MAX, `${requests.size} chunks asked of ${peer}`)
    }
  }

  #nodeOf(id: string): Node {
    const node = this.#nodes.get(id)
    if (node === undefined) throw new Error(`no peer ${id}`)
    return node
  }

  #check(isTrue: boolean, what: string): void {
    if (!isTrue) throw new Error(`at ${Math.round(this.#nowMs)} ms: ${what}`)
  }

  #at(delayMs: number, run: () => void): void {
    this.#queue.push({ atMs: this.#nowMs + Math.max(0, delayMs), order: (this.#order += 1), run })
  }

  #next(): Scheduled | undefined {
    let best = 0
    for (let index = 1; index < this.#queue.length; index += 1) {
      const [candidate, current] = [this.#queue[index], this.#queue[best]]
      if (candidate === undefined || current === undefined) continue
      if (
        candidate.atMs < current.atMs ||
        (candidate.atMs === current.atMs && candidate.order < current.order)
      ) {
        best = index
      }
    }
    return this.#queue.splice(best, 1)[0]
  }
}
