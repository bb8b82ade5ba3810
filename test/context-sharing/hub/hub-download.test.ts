import { mkdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { isHearthError } from '../../../src/base/errors.ts'
import { HUB_ANSWER_BYTES_MAX, IMPORT_ENTRIES_MAX } from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import { downloadModel, type DownloadProgress } from '../../../src/context-sharing/hub/hub-download.ts'
import { parseHubName, readHubEnvironment } from '../../../src/context-sharing/hub/hub-repo.ts'
import {
  HUB_COMMIT,
  HubServer,
  sendError,
  sendPart,
  type HubServerOptions,
} from '../../../testing/hub-server.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const WEIGHTS = Buffer.alloc(200_000, 'weights of a model, ')
const FILES: Record<string, string | Buffer> = {
  'README.md': '# tiny',
  'config.json': '{"model_type":"llama"}',
  'tokenizer.json': '{}',
  'onnx/model.onnx': Buffer.concat([Buffer.from('graph'), WEIGHTS]),
  'onnx/model.onnx_data': WEIGHTS,
  'onnx/model_q4.onnx': Buffer.alloc(5_000, 'q4'),
  'onnx/model_fp16.onnx': Buffer.alloc(5_000, 'fp16'),
}
const WANTED = ['config.json', 'onnx/model.onnx', 'onnx/model.onnx_data', 'tokenizer.json']
const SILENCE_MS = 30_000

let root: string
let hub: HubServer
/** Waits between attempts, which pass at once. */
let waits: number[]
let progress: DownloadProgress[]

beforeEach(async () => {
  root = temporaryFolder('hub')
  await serve()
  waits = []
  progress = []
})
afterEach(async () => {
  await hub.stop()
  await rm(root, { recursive: true, force: true })
})

async function serve(options: Partial<HubServerOptions> = {}): Promise<void> {
  hub = await new HubServer({ name: 'owner/tiny', files: FILES, ...options }).start()
}

/** Back-off takes no time; nor does silence, where a test is about it. */
function quickClock(silenceMs = SILENCE_MS): Clock {
  return {
    nowMs: () => systemClock.nowMs(),
    wallMs: () => systemClock.wallMs(),
    schedule: (ms, run, options) =>
      systemClock.schedule(ms === SILENCE_MS ? silenceMs : ms < SILENCE_MS ? 0 : ms, run, options),
  }
}

interface Wanted {
  name?: string
  dtype?: string
  variables?: Record<string, string>
  clock?: Clock
  signal?: AbortSignal
}

function download({
  name = 'hf:owner/tiny',
  dtype,
  variables = {},
  clock = quickClock(),
  signal,
}: Wanted = {}) {
  const environment = readHubEnvironment({
    HF_ENDPOINT: hub.url,
    HF_HUB_CACHE: join(root, 'hub'),
    ...variables,
  })
  return downloadModel({ clock }, parseHubName(name), {
    environment,
    dtype,
    onProgress: (state) => progress.push(state),
    onWait: (_reason, ms) => waits.push(ms),
    signal,
  })
}

async function failureOf(wanted: Wanted = {}): Promise<{ code: string; reason: unknown; message: string }> {
  const error = await download(wanted).then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!isHearthError(error)) throw new Error('it did not fail as it should', { cause: error })
  return { code: error.code, reason: error.data['reason'], message: error.message }
}

const repoPath = (...names: string[]): string => join(root, 'hub', 'models--owner--tiny', ...names)
const blobPath = (path: string): string => repoPath('blobs', hub.hashOf(path))
const blobCalls = (path: string) => hub.callsTo(new RegExp(`^/${path}$`))

/** What a run that was killed leaves. */
async function leave(path: string, bytes: Buffer): Promise<void> {
  await mkdir(dirname(blobPath(path)), { recursive: true })
  await writeFile(`${blobPath(path)}.incomplete`, bytes)
}

describe('a model of a hub', () => {
  test('is downloaded into the cache that other tools use: blobs by hash, links to them, the revision', async () => {
    const { folder, commit, leftOut } = await download()
    expect(commit).toBe(HUB_COMMIT)
    expect(folder).toBe(repoPath('snapshots', HUB_COMMIT))
    for (const path of WANTED) {
      expect(await readFile(join(folder, path))).toEqual(hub.bytesOf(path))
      expect(await readlink(join(folder, path))).toMatch(new RegExp(`^(\\.\\./)+blobs/${hub.hashOf(path)}$`))
    }
    expect(await readFile(repoPath('refs', 'main'), 'utf8')).toBe(HUB_COMMIT)
    expect(leftOut).toEqual(['README.md', 'onnx/model_fp16.onnx', 'onnx/model_q4.onnx'])
    expect(hub.callsTo(/model_q4|model_fp16|README/)).toEqual([])
  })

  test('of another dtype is another choice of files', async () => {
    const { folder } = await download({ dtype: 'q4' })
    expect(await readFile(join(folder, 'onnx/model_q4.onnx'))).toEqual(hub.bytesOf('onnx/model_q4.onnx'))
    expect(hub.callsTo(/model\.onnx/)).toEqual([])
    expect(await failureOf({ dtype: 'bnb4' })).toMatchObject({
      code: 'context-invalid',
      message: expect.stringContaining('no model of dtype bnb4; it has fp16, fp32, q4'),
    })
  })

  test('is the same context as a folder with its files, whatever else the cache has of it', async () => {
    const store = new ContextStore(
      { clock: systemClock, log: silentLogger },
      { folder: join(root, 'contexts'), keepFree: { bytes: 0 } },
    )
    await store.open()
    await download({ dtype: 'q4' })
    const { folder } = await download()
    const plain = join(root, 'plain')
    for (const path of WANTED) {
      await mkdir(dirname(join(plain, path)), { recursive: true })
      await writeFile(join(plain, path), hub.bytesOf(path))
    }
    const [fromHub, fromFolder] = [await store.import(folder), await store.import(plain)]
    expect(fromHub.contextId).toBe(fromFolder.contextId)
    await store.close()
  })

  test('that is here is not downloaded again, and the progress says so', async () => {
    await download()
    const calls = hub.callsTo(/resolve/).length
    progress = []
    await download()
    expect(hub.callsTo(/resolve/)).toHaveLength(calls)
    const bytes = WANTED.reduce((sum, path) => sum + hub.bytesOf(path).byteLength, 0)
    expect(progress.at(-1)).toEqual({ files: 4, filesTotal: 4, bytes, bytesTotal: bytes })
  })

  test('can be named by a branch with slashes or by a commit', async () => {
    await download({ name: 'hf:owner/tiny@refs/pr/1' })
    expect(await readFile(repoPath('refs', 'refs/pr/1'), 'utf8')).toBe(HUB_COMMIT)
    expect((await download({ name: `hf:owner/tiny@${HUB_COMMIT}` })).commit).toBe(HUB_COMMIT)
  })

  test.each([
    'hf:tiny',
    'hf:a/b/c',
    'hf:../b',
    'hf:a/..',
    'hf:a/b@../x',
    'hf:a/b@',
    'hf:a--b/c',
    'hf:a/b@c@d',
  ])('cannot be called %s', (name) => {
    expect(() => parseHubName(name)).toThrow(expect.objectContaining({ code: 'usage' }))
  })
})

describe('a download that was broken off', () => {
  const path = 'onnx/model.onnx'

  test('goes on where it was', async () => {
    await leave(path, hub.bytesOf(path).subarray(0, 150_000))
    const { folder } = await download()
    expect(await readFile(join(folder, path))).toEqual(hub.bytesOf(path))
    expect(blobCalls(path).map(({ range }) => range)).toEqual([
      `bytes=150000-${hub.bytesOf(path).byteLength - 1}`,
    ])
    expect(progress[0]!.bytes).toBeGreaterThanOrEqual(150_000)
  })

  test.each([
    ['of other bytes', Buffer.alloc(100, 'x')],
    ['that is longer than the file', Buffer.alloc(300_000, 'x')],
    ['that is whole, and wrong', Buffer.alloc(200_005, 'x')],
  ])('with a beginning %s is done over', async (_what, bytes) => {
    await leave(path, bytes)
    const { folder } = await download()
    expect(await readFile(join(folder, path))).toEqual(hub.bytesOf(path))
  })

  test('that only had to be put in its place is not asked for', async () => {
    await leave(path, hub.bytesOf(path))
    await download()
    expect(blobCalls(path)).toEqual([])
  })

  test('begins anew where the hub does not send parts of files', async () => {
    await hub.stop()
    await serve({ hasRanges: false })
    await leave(path, hub.bytesOf(path).subarray(0, 1_000))
    const { folder } = await download()
    expect(await readFile(join(folder, path))).toEqual(hub.bytesOf(path))
    expect(blobCalls(path).map(({ range }) => range !== undefined)).toEqual([true, false])
  })

  test('ends when such a hub breaks off every time, at the same place', async () => {
    await hub.stop()
    await serve({ hasRanges: false })
    const file = hub.bytesOf(path)
    hub.failing(
      /^\/onnx\/model\.onnx$/,
      (response, call) =>
        call.range === undefined ? sendPart(file, 1_000, 'cut')(response, call) : sendError(response, 416),
      100,
    )
    expect(await failureOf()).toMatchObject({ code: 'download-failed', reason: 'unreachable' })
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000])
  })

  test('by a lost connection goes on by itself', async () => {
    hub.failing(/^\/onnx\/model\.onnx$/, sendPart(hub.bytesOf(path), 70_000, 'cut'))
    const { folder } = await download()
    expect(await readFile(join(folder, path))).toEqual(hub.bytesOf(path))
    expect(waits).toEqual([1_000])
    expect(blobCalls(path)[1]?.range).toMatch(/^bytes=\d+-/)
  })

  test('by silence goes on by itself', async () => {
    hub.failing(/^\/onnx\/model\.onnx$/, sendPart(hub.bytesOf(path), 70_000, 'silence'))
    const { folder } = await download({ clock: quickClock(500) })
    expect(await readFile(join(folder, path))).toEqual(hub.bytesOf(path))
    expect(waits).toEqual([1_000])
  })

  test('by its signal ends at once, and keeps what arrived', async () => {
    hub.failing(/^\/onnx\/model\.onnx$/, sendPart(hub.bytesOf(path), 70_000, 'silence'))
    const stop = new AbortController()
    const running = download({ signal: stop.signal })
    await expect.poll(() => progress.at(-1)?.bytes ?? 0, { timeout: 10_000 }).toBeGreaterThanOrEqual(70_000)
    stop.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    expect((await stat(`${blobPath(path)}.incomplete`)).size).toBe(70_000)
  })

  test('by another hearth that downloads the same model is refused', async () => {
    hub.failing(/^\/onnx\/model\.onnx$/, sendPart(hub.bytesOf(path), 70_000, 'silence'))
    const stop = new AbortController()
    const running = download({ signal: stop.signal })
    await expect.poll(() => progress.length, { timeout: 10_000 }).toBeGreaterThan(0)
    expect(await failureOf()).toMatchObject({ code: 'data-in-use' })
    stop.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
  })
})

describe('what a hub says', () => {
  test('its token goes to the hub and to nobody else', async () => {
    await download({ variables: { HF_TOKEN: 'hf_secret' } })
    const tokens = (where: string) =>
      new Set(hub.calls.filter((call) => call.where === where).map(({ authorization }) => authorization))
    expect(tokens('hub')).toEqual(new Set(['Bearer hf_secret']))
    expect(tokens('store')).toEqual(new Set([undefined]))
  })

  test.each([
    [401, undefined, undefined, 'denied', 'set HF_TOKEN'],
    [401, undefined, 'hf_x', 'denied', 'HF_TOKEN is not valid'],
    [403, 'GatedRepo', 'hf_x', 'denied', 'ask for access'],
    [403, 'GatedRepo', undefined, 'denied', 'gated'],
    [404, 'RepoNotFound', undefined, 'not-found', 'check its name'],
    [400, undefined, undefined, 'refused', 'status 400'],
  ])('status %s %s with token %s: %s', async (status, code, token, reason, words) => {
    hub.failing(/^\/api/, (response) => sendError(response, status, code))
    const failure = await failureOf(token === undefined ? {} : { variables: { HF_TOKEN: token } })
    expect(failure).toMatchObject({
      code: 'download-failed',
      reason,
      message: expect.stringContaining(words),
    })
    expect(failure.message).not.toContain('hf_x')
  })

  test('a revision that is not there is told apart from a model that is not', async () => {
    expect(await failureOf({ name: 'hf:owner/tiny@v9' })).toMatchObject({
      reason: 'not-found',
      message: expect.stringContaining('no revision "v9"'),
    })
    expect(await failureOf({ name: 'hf:owner/nothing' })).toMatchObject({ reason: 'denied' })
  })

  test('a gated file is told when it is asked for, though the list is open to all', async () => {
    hub.failing(/resolve.*config\.json/, (response) => sendError(response, 403, 'GatedRepo'))
    expect(await failureOf()).toMatchObject({ reason: 'denied', message: expect.stringContaining('gated') })
  })

  test('that it is busy is waited out, as long as it asks for', async () => {
    hub.failing(/^\/api/, (response) => sendError(response, 429, undefined, { 'retry-after': '7' }))
    hub.failing(/resolve/, (response) => sendError(response, 503))
    await download()
    expect(waits).toEqual([7_000, 1_000])
  })

  test('that it is busy for an hour is told, not waited out', async () => {
    hub.failing(/^\/api/, (response) => sendError(response, 429, undefined, { 'retry-after': '3600' }))
    expect(await failureOf()).toMatchObject({
      reason: 'busy',
      message: expect.stringContaining('asks to wait 3600 s'),
    })
    expect(waits).toEqual([])
  })

  test('that it fails every time is told after six attempts', async () => {
    hub.failing(/^\/api/, (response) => sendError(response, 500), 100)
    expect(await failureOf()).toMatchObject({ reason: 'busy', message: expect.stringContaining('500') })
    expect(hub.calls).toHaveLength(6)
  })

  test('nothing, because it is not there: the error names it', async () => {
    await hub.stop()
    expect(await failureOf()).toMatchObject({
      reason: 'unreachable',
      message: expect.stringMatching(/127\.0\.0\.1.*ECONNREFUSED.*check the network/),
    })
    await serve()
  })

  test('wrong bytes, every time: refused, and not kept', async () => {
    const path = 'onnx/model.onnx_data'
    hub.replaced.set(path, Buffer.alloc(hub.bytesOf(path).byteLength, 'evil'))
    expect(await failureOf()).toMatchObject({
      code: 'download-failed',
      reason: 'corrupt',
      message: expect.stringContaining('onnx/model.onnx_data arrived damaged'),
    })
    await expect(stat(`${blobPath(path)}.incomplete`)).rejects.toThrow('ENOENT')
    await expect(stat(repoPath('snapshots'))).rejects.toThrow('ENOENT')
  })

  test('more bytes than it announced: refused', async () => {
    const path = 'onnx/model.onnx_data'
    hub.replaced.set(path, Buffer.concat([hub.bytesOf(path), Buffer.alloc(1_000_000)]))
    expect(await failureOf()).toMatchObject({ code: 'limit-reached' })
  })

  test.each(['../evil.json', '/etc/evil.json', 'a/../../evil.json', 'a\\evil.json'])(
    'the path %s: refused before anything is downloaded',
    async (path) => {
      hub.options.files = { ...FILES, [path]: 'x' }
      expect(await failureOf()).toMatchObject({ code: 'download-failed', reason: 'refused' })
      expect(hub.callsTo(/resolve/)).toEqual([])
    },
  )

  test(`an answer over ${HUB_ANSWER_BYTES_MAX} bytes: refused`, async () => {
    hub.failing(/tree/, (response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const piece = Buffer.alloc(1024 * 1024, ' ')
      const send = (left: number): void => {
        if (left > 0 && !response.destroyed) response.write(piece, () => send(left - piece.byteLength))
      }
      send(HUB_ANSWER_BYTES_MAX + 4 * piece.byteLength)
    })
    expect(await failureOf()).toMatchObject({ code: 'limit-reached' })
  })

  test(`a list of over ${IMPORT_ENTRIES_MAX} files: refused`, async () => {
    hub.failing(/tree/, (response) => {
      const entry = (n: number): object => ({ type: 'file', path: `f${n}`, size: 1, oid: '0'.repeat(40) })
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(Array.from({ length: IMPORT_ENTRIES_MAX + 1 }, (_value, n) => entry(n))))
    })
    expect(await failureOf()).toMatchObject({ code: 'limit-reached' })
  })

  test('a model without ONNX weights: refused before anything is downloaded', async () => {
    hub.options.files = { 'config.json': '{}', 'model.safetensors': Buffer.alloc(9_000) }
    expect(await failureOf()).toMatchObject({
      code: 'model-unsupported',
      message: expect.stringContaining('safetensors only'),
    })
    expect(hub.callsTo(/resolve/)).toEqual([])
  })
})

describe('the environment', () => {
  test('offline, the cache is used and the hub is not asked', async () => {
    await download()
    const calls = hub.calls.length
    const { folder } = await download({ variables: { HF_HUB_OFFLINE: '1' } })
    expect(await readFile(join(folder, 'config.json'), 'utf8')).toBe(FILES['config.json'])
    expect(hub.calls).toHaveLength(calls)
    expect(await failureOf({ name: 'hf:owner/other', variables: { HF_HUB_OFFLINE: '1' } })).toMatchObject({
      reason: 'offline',
    })
  })

  test('says where the cache is, as for Hugging Face’s own tools', () => {
    const pathOf = (variables: Record<string, string>) => readHubEnvironment(variables).cachePath
    expect(pathOf({ HF_HUB_CACHE: '/a', HF_HOME: '/b' })).toBe('/a')
    expect(pathOf({ HF_HOME: '/b' })).toBe(join('/b', 'hub'))
    expect(pathOf({ XDG_CACHE_HOME: '/c' })).toBe(join('/c', 'huggingface', 'hub'))
    expect(readHubEnvironment({ HF_ENDPOINT: 'https://mirror.example/' }).endpoint).toBe(
      'https://mirror.example',
    )
    expect(() => readHubEnvironment({ HF_ENDPOINT: 'mirror' })).toThrow(
      expect.objectContaining({ code: 'config-invalid' }),
    )
  })

  test('with a cache that cannot be written is told', async () => {
    await writeFile(join(root, 'file'), '')
    expect(await failureOf({ variables: { HF_HUB_CACHE: join(root, 'file', 'hub') } })).toMatchObject({
      code: 'config-invalid',
      message: expect.stringContaining('HF_HUB_CACHE'),
    })
  })
})
