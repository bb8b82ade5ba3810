import type { FairFlows, Flow } from '../../network/fair-flows.ts'
import type { HostView } from './host-view.ts'

interface Wish {
  host: HostView
  context: number
  bytes: number
  onDone: () => void
  /** From there and nowhere else, whatever it sends already. */
  from?: HostView | undefined
  /** A transfer broke after so many bytes; it begins anew. */
  onCut: (from: HostView, bytes: number) => void
}

interface Transfer extends Wish {
  source: HostView
  flow: Flow
}

/**
 * How the paper's manager spreads a context, for runs with `policy: paper`: a tree of whole copies. Each
 * wish in its turn gets the source that sends to the fewest, at most `fanOut`; every copy that is done
 * becomes a source. This is a policy of its own because core/download has no such mode: it takes chunks
 * from several sources and serves what is half there.
 */
export class PaperTree {
  readonly #flows: FairFlows
  readonly #fanOut: number
  readonly #countBytes: (from: HostView, bytes: number) => void
  /** Transfers that each source of a context makes now. */
  readonly #sources = new Map<number, Map<HostView, number>>()
  #waiting: Wish[] = []
  readonly #transfers = new Set<Transfer>()

  constructor(flows: FairFlows, fanOut: number, countBytes: (from: HostView, bytes: number) => void) {
    this.#flows = flows
    this.#fanOut = fanOut
    this.#countBytes = countBytes
  }

  addSource(host: HostView, context: number): void {
    const sources = this.#sources.get(context) ?? new Map<HostView, number>()
    this.#sources.set(context, sources)
    if (!sources.has(host)) sources.set(host, 0)
    this.#assign()
  }

  removeSource(host: HostView, context: number): void {
    this.#sources.get(context)?.delete(host)
  }

  wish(wish: Wish): void {
    this.#waiting.push(wish)
    this.#assign()
  }

  /**
   * The host is gone: what it was to get is forgotten, what it was sending is sent by another. `onWasted`
   * gets what had come to it.
   */
  lose(host: HostView, onWasted: (from: HostView, bytes: number) => void): void {
    for (const context of this.#sources.keys()) this.removeSource(host, context)
    this.#waiting = this.#waiting.filter((wish) => wish.host !== host)
    const again: Wish[] = []
    for (const transfer of this.#transfers) {
      if (transfer.host !== host && transfer.source !== host) continue
      const bytes = this.#flows.close(transfer.flow)
      this.#transfers.delete(transfer)
      this.#free(transfer)
      if (transfer.host === host) onWasted(transfer.source, bytes)
      else {
        transfer.onCut(transfer.source, bytes)
        again.push(transfer)
      }
    }
    this.#waiting.unshift(...again)
    this.#assign()
  }

  #assign(): void {
    this.#waiting = this.#waiting.filter((wish) => {
      const source = this.#sourceFor(wish)
      if (source === undefined) return true
      this.#start(wish, source)
      return false
    })
  }

  #sourceFor({ context, from }: Wish): HostView | undefined {
    if (from !== undefined) return from
    let best: HostView | undefined
    let fewest = this.#fanOut
    for (const [source, transfers] of this.#sources.get(context) ?? []) {
      if (transfers >= fewest) continue
      best = source
      fewest = transfers
    }
    return best
  }

  #start(wish: Wish, source: HostView): void {
    const sources = this.#sources.get(wish.context)
    sources?.set(source, (sources.get(source) ?? 0) + 1)
    const flow = this.#flows.open(source.node, wish.host.node)
    const transfer: Transfer = { ...wish, source, flow }
    this.#transfers.add(transfer)
    this.#flows.send(flow, wish.bytes, () => {
      this.#transfers.delete(transfer)
      this.#free(transfer)
      this.#countBytes(source, wish.bytes)
      source.uploads.bytesSent += wish.bytes
      wish.onDone()
    })
  }

  #free({ source, context }: Transfer): void {
    const sources = this.#sources.get(context)
    const transfers = sources?.get(source)
    if (transfers !== undefined) sources?.set(source, transfers - 1)
  }
}
