/** A job over time, read back from its event log. */
export interface JobHistory {
  jobId: string
  /** From the log's start to its last event, ms. */
  lengthMs: number
  committed: number
  /** Requests committed, per interval of `intervalMs`. */
  committedPer: number[]
  intervalMs: number
  /** The phases of each peer, with their times. */
  peers: PeerHistory[]
  /** Leases revoked from lost peers. */
  releasedLeases: number
}

export interface PeerHistory {
  peer: string
  committed: number
  spans: { phase: string; fromMs: number; toMs: number }[]
  /** The reason why the peer was lost, if it was. */
  lost: { atMs: number; reason: string }[]
}

interface Line {
  t?: number
  kind?: string
  peer?: string
  phase?: string
  reason?: string
  schema?: { jobId?: string }
  leases?: [number, number][]
}

const INTERVALS = 120

/** Reads the lines of an event log. The runs of a log follow one another. */
export async function readHistory(lines: AsyncIterable<string>): Promise<JobHistory> {
  const peers = new Map<string, PeerHistory>()
  const commits: number[] = []
  let jobId = ''
  let baseMs = 0
  let nowMs = 0
  let releasedLeases = 0
  /** Whether the job has ended by itself: its links end then, and no peer is lost. */
  let isOver = false
  const outstanding = new Map<string, number>()
  const peerOf = (name: string): PeerHistory => {
    const known = peers.get(name) ?? { peer: name, committed: 0, spans: [], lost: [] }
    peers.set(name, known)
    return known
  }
  for await (const text of lines) {
    const line = parse(text)
    if (line.schema !== undefined) {
      jobId = line.schema.jobId ?? jobId
      for (const peer of peers.values()) enter(peer, undefined, nowMs)
      baseMs = nowMs
      isOver = false
      outstanding.clear()
      continue
    }
    if (line.t === undefined) continue
    nowMs = baseMs + line.t
    if (line.kind === 'finish' || line.kind === 'give-up') isOver = true
    if (line.peer === undefined) continue
    const peer = peerOf(line.peer)
    if (line.kind === 'opened') enter(peer, 'queued', nowMs)
    else if (line.kind === 'status' && line.phase !== undefined)
      enter(peer, line.phase === 'refused' ? undefined : line.phase, nowMs)
    else if (line.kind === 'send')
      outstanding.set(line.peer, (outstanding.get(line.peer) ?? 0) + (line.leases?.length ?? 0))
    else if (line.kind === 'committed') {
      commits.push(nowMs)
      peer.committed += 1
      outstanding.set(line.peer, (outstanding.get(line.peer) ?? 1) - 1)
    } else if (line.kind === 'lost' && !isOver) {
      releasedLeases += Math.max(0, outstanding.get(line.peer) ?? 0)
      outstanding.delete(line.peer)
      if (peer.spans.at(-1)?.toMs === Number.POSITIVE_INFINITY)
        peer.lost.push({ atMs: nowMs, reason: line.reason ?? '' })
      enter(peer, undefined, nowMs)
    }
  }
  for (const peer of peers.values()) enter(peer, undefined, nowMs)
  return {
    jobId,
    lengthMs: nowMs,
    committed: commits.length,
    ...rateOf(commits, nowMs),
    peers: [...peers.values()],
    releasedLeases,
  }
}

function rateOf(
  commits: readonly number[],
  lengthMs: number,
): Pick<JobHistory, 'committedPer' | 'intervalMs'> {
  const intervalMs = Math.max(1, lengthMs / INTERVALS)
  const committedPer = Array<number>(INTERVALS).fill(0)
  for (const atMs of commits) {
    const index = Math.min(INTERVALS - 1, Math.floor(atMs / intervalMs))
    committedPer[index] = (committedPer[index] ?? 0) + 1
  }
  return { committedPer, intervalMs }
}

/** Ends a peer's present phase and begins another; undefined begins none. */
function enter(peer: PeerHistory, phase: string | undefined, atMs: number): void {
  const last = peer.spans.at(-1)
  if (last !== undefined && last.toMs === Number.POSITIVE_INFINITY) {
    if (last.phase === phase) return
    last.toMs = atMs
  }
  if (phase !== undefined) peer.spans.push({ phase, fromMs: atMs, toMs: Number.POSITIVE_INFINITY })
}

function parse(text: string): Line {
  try {
    return JSON.parse(text) as Line
  } catch {
    // The last line of a log whose writer was killed may be torn.
    return {}
  }
}
