// aria2, Debian's BitTorrent client, as one seed and some leechers with a tracker: the baseline of the benches.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Child } from './child.ts'
import type { Places } from './places.ts'

const PIECE_BYTES = 1024 * 1024
const LOOK_EVERY_MS = 5
/** A seed that has found its file whole and told the tracker. */
const SEED_READY_MS = 3_000
const GIVEN_UP_MS = 600_000

/** Installs aria2 where it is missing and may be; false where it stays missing. */
export function hasAria2(): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v aria2c || apt-get install -y aria2'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

interface Aria2Run {
  folder: string
  file: string
  leechers: number
  uploadBytesPerSecond: number | undefined
}

/**
 * Seconds in which `leechers` get the file from one seed: from the start of their processes, which takes
 * aria2 about 50 ms, to the last one's having it. With `uploadBytesPerSecond` as each one's own upload limit.
 */
export async function aria2Seconds(
  places: Places,
  { folder, file, leechers, uploadBytesPerSecond }: Aria2Run,
): Promise<number> {
  const tracker = new Child('tracker-main.ts', [places.hostOf()], places.within())
  const { port } = await tracker.next<{ port: number }>()
  mkdirSync(folder, { recursive: true })
  const torrent = join(folder, 'file.torrent')
  writeFileSync(torrent, torrentOf(file, `http://${places.hostOf()}:${port}/announce`))
  const clients: ChildProcess[] = []
  const start = (index: number): string => {
    const own = join(folder, String(index))
    mkdirSync(own)
    if (index === 0) linkSync(file, join(own, 'file'))
    clients.push(spawnClient(places, index, own, { torrent, uploadBytesPerSecond }))
    return join(own, 'done')
  }
  try {
    start(0)
    await sleep(SEED_READY_MS)
    const beganMs = performance.now()
    const marks = Array.from({ length: leechers }, (_value, index) => start(index + 1))
    while (!marks.every(existsSync)) {
      if (performance.now() - beganMs > GIVEN_UP_MS) throw new Error('aria2 did not finish')
      await sleep(LOOK_EVERY_MS)
    }
    return (performance.now() - beganMs) / 1_000
  } finally {
    for (const client of clients) client.kill('SIGKILL')
    tracker.kill()
  }
}

function spawnClient(
  places: Places,
  index: number,
  folder: string,
  { torrent, uploadBytesPerSecond = 0 }: { torrent: string; uploadBytesPerSecond: number | undefined },
): ChildProcess {
  const hook = join(folder, 'hook.sh')
  writeFileSync(hook, `#!/bin/sh\ntouch '${join(folder, 'done')}'\n`)
  chmodSync(hook, 0o700)
  const [command, ...args] = [
    ...places.within(index),
    'aria2c',
    `--dir=${folder}`,
    `--listen-port=${17_000 + index}`,
    `--on-bt-download-complete=${hook}`,
    '--check-integrity=true',
    '--seed-ratio=0.0',
    `--max-upload-limit=${uploadBytesPerSecond}`,
    '--enable-dht=false',
    '--enable-dht6=false',
    '--bt-enable-lpd=false',
    '--bt-tracker-interval=2',
    '--file-allocation=none',
    '--quiet=true',
    torrent,
  ]
  return spawn(command ?? 'aria2c', args, { stdio: 'ignore' })
}

function torrentOf(file: string, announce: string): Uint8Array {
  const bytes = readFileSync(file)
  const hashes: Buffer[] = []
  for (let from = 0; from < bytes.byteLength; from += PIECE_BYTES) {
    hashes.push(
      createHash('sha1')
        .update(bytes.subarray(from, from + PIECE_BYTES))
        .digest(),
    )
  }
  const pieces = Buffer.concat(hashes)
  const head = `d8:announce${announce.length}:${announce}4:infod6:lengthi${bytes.byteLength}e4:name4:file12:piece lengthi${PIECE_BYTES}e6:pieces${pieces.byteLength}:`
  return Buffer.concat([Buffer.from(head), pieces, Buffer.from('ee')])
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
