// Embeds a peer and submits a job to it. Run it with "node examples/embed.ts".
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readResults, startPeer, submitFile } from 'hearth'

const MODEL = fileURLToPath(new URL('../models/facts', import.meta.url))
const CLAIMS = ['Libya has Tripoli as its capital.', 'The capital of Ethiopia is Lima.']

const folder = await mkdtemp(join(tmpdir(), 'hearth-embed-'))
const inputPath = join(folder, 'claims.txt')
const outputPath = join(folder, 'results.jsonl')
await writeFile(inputPath, CLAIMS.join('\n'))

const peer = await startPeer({ dataFolder: join(folder, 'peer') })
try {
  const { contextId } = await peer.addContext(MODEL, { name: 'facts' })
  console.log(`peer ${peer.peerId} serves context ${contextId}`)

  const summary = await submitFile({
    dataFolder: join(folder, 'submitter'),
    inputPath,
    outputPath,
    context: 'facts',
    bootstrap: peer.addresses,
    reading: { defaults: { max_tokens: 24, temperature: 0 } },
    onProgress: ({ counts }) => console.log(`${counts.committed} of ${counts.requests} done`),
  })
  console.log(`${summary.counts.failed} requests failed`)

  for await (const { customId, body, error } of readResults(outputPath))
    console.log(customId, error?.message ?? JSON.stringify(body?.['choices']))
} finally {
  await peer.stop()
  await rm(folder, { recursive: true, force: true })
}
