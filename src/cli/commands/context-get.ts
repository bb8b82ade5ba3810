import { followPeer } from '../../api/control-client.ts'
import type { FetchProgress, FetchResult } from '../../context-sharing/download/fetch.ts'
import { type ScrubProgress, Scrubber } from '../../context-sharing/upkeep/scrubber.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { pathOf } from './context-upkeep.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { inPeerOrStore } from '../terminal/peer-or-store.ts'
import { progressBar, reportEveryMs } from '../terminal/progress.ts'
import { requireControl } from './status.ts'
import { columns, formatBytes, shortPeer } from '../terminal/terminal.ts'

/** `hearth context get`: downloads a context now. Ctrl-C keeps its verified chunks. */
export async function contextGetCommand(name: string, context: CommandContext): Promise<number> {
  const { terminal, data, signal } = context
  const report = fetchReport(context)
  const access = requireControl(data.control())
  const path = `${pathOf(name)}/get`
  const result = await followPeer<{ progress: FetchProgress; result: FetchResult }>(
    access,
    path,
    report,
    signal,
  )
  terminal.redraw([])
  terminal.event({ ...result, event: 'context-fetched' })
  if (terminal.isJson) return EXIT.ok
  terminal.print(result.contextId)
  const fetched = result.sources.reduce((sum, { bytes }) => sum + bytes, 0)
  const reused = result.bytesReused === 0 ? '' : `, ${formatBytes(result.bytesReused)} already here`
  terminal.note(`Downloaded ${formatBytes(fetched)} from ${result.sources.length} peers${reused}`)
  return EXIT.ok
}

/** Prints the progress and the sources of a download, at the terminal's interval. */
export function fetchReport(context: CommandContext): (progress: FetchProgress) => void {
  const { terminal } = context
  return every(context, (progress: FetchProgress) => {
    if (terminal.isJson) terminal.event({ ...progress, event: 'progress' })
    else if (terminal.isInteractive) terminal.redraw(fetchBlock(progress))
    else terminal.note(fetchLine(progress))
  })
}

/** `hearth context scrub`: verifies stored chunks. Status 8 when some are corrupted. */
export async function contextScrubCommand(
  name: string | undefined,
  context: CommandContext,
): Promise<number> {
  const { terminal, signal, clock, log } = context
  const report = every(context, (progress: ScrubProgress) => {
    if (terminal.isJson) terminal.event({ ...progress, event: 'progress' })
    else if (terminal.isInteractive) terminal.redraw([scrubLine(progress)])
    else terminal.note(scrubLine(progress))
  })
  const path = name === undefined ? '/v0/contexts/scrub' : `${pathOf(name)}/scrub`
  const result = await inPeerOrStore(
    context,
    (access) => followPeer<{ progress: ScrubProgress; result: ScrubProgress }>(access, path, report, signal),
    async (store) => {
      const ids = name === undefined ? store.list().map(({ contextId }) => contextId) : [store.resolve(name)]
      return await new Scrubber({ store, clock, log }).run(ids, { signal, onProgress: report })
    },
  )
  terminal.redraw([])
  terminal.event({ ...result, event: 'context-scrubbed' })
  terminal.note(
    result.chunksBad === 0
      ? `All ${result.chunksDone} chunks are intact`
      : `${result.chunksBad} of ${result.chunksDone} chunks are corrupted; a running peer downloads them again from peers that have them`,
  )
  return result.chunksBad === 0 ? EXIT.ok : EXIT.verification
}

/** Calls `print` at most once per interval of the terminal. */
function every<P>({ clock, terminal }: CommandContext, print: (progress: P) => void): (progress: P) => void {
  let printedMs = -Infinity
  return (progress) => {
    if (clock.nowMs() - printedMs < reportEveryMs(terminal)) return
    printedMs = clock.nowMs()
    print(progress)
  }
}

function fetchLine({ bytesDone, bytesTotal, sources }: FetchProgress): string {
  const percent = Math.floor((100 * bytesDone) / Math.max(1, bytesTotal))
  const rate = sources.reduce((sum, { rateBytesPerSecond }) => sum + rateBytesPerSecond, 0)
  return `${percent} % of ${formatBytes(bytesTotal)}, ${formatBytes(rate)}/s from ${sources.length} peers`
}

function fetchBlock(progress: FetchProgress): string[] {
  const share = progress.bytesDone / Math.max(1, progress.bytesTotal)
  const sources = progress.sources.map(({ peer, bytes, rateBytesPerSecond }) => [
    `  ${shortPeer(peer)}`,
    formatBytes(bytes),
    `${formatBytes(rateBytesPerSecond)}/s`,
  ])
  return [`${progressBar(share, 30)} ${fetchLine(progress)}`, ...columns(sources).slice(0, 8)]
}

function scrubLine({ chunksDone, chunksTotal, chunksBad }: ScrubProgress): string {
  return `${chunksDone} of ${chunksTotal} chunks verified, ${chunksBad} corrupted`
}
