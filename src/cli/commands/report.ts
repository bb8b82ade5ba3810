import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { HearthError, messageOf } from '../../base/errors.ts'
import { findJob } from '../../node/jobs/job-folder.ts'
import { readHistory, type JobHistory } from '../../tasks/job/job-history.ts'
import type { CommandContext } from '../terminal/command-context.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { formatDuration, shortPeer } from '../terminal/terminal.ts'

const WIDTH = 960
const LEFT = 120
const RIGHT = 130
const CHART_HEIGHT = 180
const ROW_HEIGHT = 26
const COLORS: Record<string, string> = {
  queued: '#c9ced6',
  fetching: '#e0a33c',
  loading: '#7d6bd0',
  ready: '#3f9b6c',
}

/** `hearth job report ID`: writes a page with throughput and peers over time, from the event log of the job. */
export async function jobReportCommand(
  id: string,
  options: { output?: string },
  { terminal, data }: CommandContext,
): Promise<number> {
  const folder = findJob(data, id)
  const output = resolve(options.output ?? join(folder.path, 'report.html'))
  const history = await readLog(folder.eventsPath)
  await writeFile(output, page({ ...history, jobId: folder.jobId }))
  terminal.event({ event: 'report', jobId: folder.jobId, output })
  if (!terminal.isJson) terminal.print(output)
  return EXIT.ok
}

async function readLog(path: string): Promise<JobHistory> {
  try {
    return await readHistory(createInterface(createReadStream(path)))
  } catch (cause) {
    throw new HearthError(
      'usage',
      `Cannot read the event log ${path} of this job: ${messageOf(cause)}. Only a job that has run has one`,
      { cause },
    )
  }
}

/** The page: self-contained, the same bytes for the same log. */
export function page(history: JobHistory): string {
  const { jobId, committed, lengthMs, peers, releasedLeases } = history
  const losses = peers.reduce((sum, peer) => sum + peer.lost.length, 0)
  const legend = Object.entries(COLORS)
    .map(([phase, color]) => `<span><i style="background:${color}"></i>${phase}</span>`)
    .join('')
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Hearth job ${escape(jobId.slice(0, 8))}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:${WIDTH}px;margin:2rem auto;padding:0 1rem;color:#1d2329;background:#fff}
h1{font-size:1.3rem}h2{font-size:1rem;margin:1.6rem 0 .4rem}svg{width:100%;height:auto}
text{font:12px system-ui,sans-serif;fill:#4a545e}.axis{stroke:#c9ced6}.legend span{margin-right:1.2rem}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.35em}
</style></head><body>
<h1>Job ${escape(jobId.slice(0, 8))}</h1>
<p>${committed} requests committed in ${formatDuration(lengthMs)}, ${rate(committed, lengthMs)} per second on average.
${losses} ${losses === 1 ? 'peer was' : 'peers were'} lost; other peers ran the ${releasedLeases} requests that they had not finished.</p>
<h2>Requests committed per second</h2>
${throughput(history)}
<h2>Peers</h2>
${peerRows(history)}
<p class="legend">${legend}<span>✕ lost</span></p>
</body></html>
`
}

function throughput({ committedPer, intervalMs, lengthMs }: JobHistory): string {
  const rates = committedPer.map((count) => (count * 1000) / intervalMs)
  const top = niceCeiling(Math.max(...rates))
  const x = (index: number): number => LEFT + ((WIDTH - LEFT - RIGHT) * index) / rates.length
  const y = (value: number): number => CHART_HEIGHT - 20 - ((CHART_HEIGHT - 40) * value) / top
  const points = rates.flatMap((value, index) => [
    `${round(x(index))},${round(y(value))}`,
    `${round(x(index + 1))},${round(y(value))}`,
  ])
  const base = round(y(0))
  const grid = [0, top / 2, top]
    .map(
      (value) =>
        `<line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${round(y(value))}" y2="${round(y(value))}"/><text x="${LEFT - 8}" y="${round(y(value)) + 4}" text-anchor="end">${value}</text>`,
    )
    .join('')
  return `<svg viewBox="0 0 ${WIDTH} ${CHART_HEIGHT}" role="img" aria-label="requests committed per second over time">${grid}
<polygon points="${LEFT},${base} ${points.join(' ')} ${WIDTH - RIGHT},${base}" fill="#3f9b6c" opacity="0.85"/>${timeAxis(lengthMs, CHART_HEIGHT)}</svg>`
}

function peerRows({ peers, lengthMs }: JobHistory): string {
  const height = peers.length * ROW_HEIGHT + 24
  const x = (ms: number): number => round(LEFT + ((WIDTH - LEFT - RIGHT) * ms) / Math.max(1, lengthMs))
  const rows = peers.map((peer, index) => {
    const top = index * ROW_HEIGHT + 4
    const spans = peer.spans
      .map(
        ({ phase, fromMs, toMs }) =>
          `<rect x="${x(fromMs)}" y="${top}" width="${round(Math.max(1, x(toMs) - x(fromMs)))}" height="${ROW_HEIGHT - 8}" rx="2" fill="${COLORS[phase] ?? '#999'}"><title>${escape(phase)}</title></rect>`,
      )
      .join('')
    const lost = peer.lost
      .map(
        ({ atMs, reason }) =>
          `<text x="${x(atMs)}" y="${top + 13}" text-anchor="middle" style="fill:#b3261e;font-weight:700">✕<title>${escape(reason)}</title></text>`,
      )
      .join('')
    return `<text x="${LEFT - 8}" y="${top + 13}" text-anchor="end">${escape(shortPeer(peer.peer))}</text>${spans}${lost}<text x="${WIDTH - RIGHT + 10}" y="${top + 13}">${peer.committed} results</text>`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="what each peer did over time">${rows.join('\n')}${timeAxis(lengthMs, height)}</svg>`
}

function timeAxis(lengthMs: number, height: number): string {
  const stepMs = niceCeiling(lengthMs / 6)
  const marks: string[] = []
  for (let ms = 0; ms <= lengthMs; ms += stepMs) {
    const x = round(LEFT + ((WIDTH - LEFT - RIGHT) * ms) / Math.max(1, lengthMs))
    marks.push(`<text x="${x}" y="${height - 4}" text-anchor="middle">${formatDuration(ms)}</text>`)
  }
  return marks.join('')
}

/** The next 1, 2 or 5 times a power of ten. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)))
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10)
}

function rate(count: number, ms: number): string {
  return ((count * 1000) / Math.max(1, ms)).toFixed(1)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
