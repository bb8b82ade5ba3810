// A corpus of contexts made to do harm. Each is refused with a reason before native code sees it, or
// contained in its process; nothing outside its folder is opened; after each, a good context still answers.
import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isHearthError } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import type { EngineHostOptions } from '../../../src/inference/host/engine-host-options.ts'
import { loadEngine } from '../../../src/inference/engines/load-engine.ts'
import { encodeModel } from '../../../src/inference/onnx/onnx-writer.ts'
import {
  branch,
  decoderThat,
  deepNesting,
  endlessLoop,
  harmless,
  manyOnes,
  muchWork,
  noise,
  operatorOf,
  scan,
  sparseFile,
  twoGraphs,
  withExternalConstant,
  withWeights,
  writeContext,
} from '../../../testing/malicious-models.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const FACTS = join(import.meta.dirname, '../../../models/facts')
const GOOD = encodeModel(harmless())
const good = new EngineHost(
  { clock: systemClock, log: silentLogger },
  { folder: FACTS, threads: 1, heartbeatMs: 100 },
)

beforeAll(() => good.start())
afterAll(() => good.stop())

async function expectGoodContextAnswers(): Promise<void> {
  const result = await good.run({ url: '/v1/completions', body: { prompt: 'Paris', max_tokens: 1 } })
  expect(result.ok).toBe(true)
}

type Write = (folder: string) => void

const model =
  (bytes: Uint8Array, more: (onnx: string) => void = () => {}): Write =>
  (folder) => {
    writeContext(folder, bytes)
    more(join(folder, 'onnx'))
  }
const file =
  (name: string, text: string): Write =>
  (folder) => {
    writeContext(folder, GOOD)
    writeFileSync(join(folder, name), text)
  }
const graph = (build: Parameters<typeof decoderThat>[0]): Write => model(encodeModel(decoderThat(build)))
const weights = (external: Parameters<typeof withWeights>[0]): Write =>
  model(withWeights(external), (onnx) => writeFileSync(join(onnx, 'weights'), new Uint8Array(16)))

const REFUSED: Record<string, [Write, RegExp]> = {
  'an empty model': [model(new Uint8Array(0)), /no graph/],
  'random bytes': [model(noise(4_096)), /malformed|no graph/],
  'a megabyte of random bytes': [model(noise(1_000_000, 7)), /malformed|no graph/],
  'a web page': [model(Buffer.from('<!DOCTYPE html><html>not found</html>')), /malformed/],
  'a cut model': [model(GOOD.subarray(0, GOOD.length / 2)), /malformed/],
  'messages 2,000 deep': [model(deepNesting()), /as a decoder/],
  'two graphs': [model(twoGraphs()), /several graphs/],
  'local functions': [model(Buffer.concat([GOOD, Uint8Array.of(0xca, 0x01, 0)])), /local functions/],
  'weights above its folder': [weights({ location: '../../secret', length: '16' }), /outside/],
  'weights two steps away': [weights({ location: 'onnx/../../../secret', length: '16' }), /outside/],
  'weights in the folder above': [weights({ location: '..' }), /outside/],
  'weights in a folder below that is missing': [weights({ location: 'below/weights' }), /is missing/],
  'weights in a folder that is a link': [
    (folder) => {
      weights({ location: 'below/hostname', length: '16' })(folder)
      symlinkSync('/etc', join(folder, 'onnx', 'below'))
    },
    /not in a regular folder/,
  ],
  'weights by a detour': [weights({ location: 'below/../weights' }), /outside/],
  'weights in its own folder, named as a folder': [weights({ location: '.' }), /outside/],
  'weights behind a backslash': [weights({ location: '..\\..\\secret' }), /outside/],
  'weights at an absolute path': [weights({ location: '/etc/hostname' }), /outside/],
  'weights in our own memory': [weights({ location: '/proc/self/mem' }), /outside/],
  'weights behind a NUL': [weights({ location: 'weights\0.txt' }), /outside/],
  'weights that are missing': [weights({ location: 'nowhere' }), /missing/],
  'weights nowhere at all': [weights({ length: '16' }), /place of weights/],
  'weights that are a folder': [
    model(withWeights({ location: 'below' }), (onnx) => mkdirSync(join(onnx, 'below'))),
    /not a regular file/,
  ],
  'weights behind a symbolic link': [
    model(withWeights({ location: 'link', length: '16' }), (onnx) =>
      symlinkSync('../../secret', join(onnx, 'link')),
    ),
    /not a regular file/,
  ],
  'weights that begin after the end': [
    weights({ location: 'weights', offset: '4096', length: '16' }),
    /ends before/,
  ],
  'weights that end after the end': [
    weights({ location: 'weights', offset: '8', length: '16' }),
    /ends before/,
  ],
  'weights of 64 TiB': [
    weights({ location: 'weights', length: String(2 ** 46), dims: [2 ** 44] }),
    /dimensions|ends before/,
  ],
  'weights before the beginning': [weights({ location: 'weights', offset: '-8', length: '16' }), /place of/],
  'weights at no number': [weights({ location: 'weights', offset: 'first' }), /place of/],
  'weights in two places': [
    weights({ location: '../../secret', length: '16', more: [['location', 'weights']] }),
    /has an entry twice/,
  ],
  'weights with an entry that nobody knows': [
    weights({ location: 'weights', length: '16', more: [['prepacked_0', 'x']] }),
    /has an unknown entry/,
  ],
  'weights of another size': [
    weights({ location: 'weights', length: '16', dims: [5] }),
    /dimensions need 20/,
  ],
  'weights of 2^80 elements': [weights({ location: 'weights', dims: [2 ** 40, 2 ** 40] }), /dimensions/],
  'weights of fewer than no elements': [weights({ location: 'weights', dims: [-4] }), /dimensions/],
  'weights of an unknown type': [weights({ location: 'weights', type: 99 }), /type 99/],
  'a constant above its folder': [model(withExternalConstant('../../secret')), /constant in another file/],
  'an endless loop': [graph(endlessLoop), /Loop .* might never end/],
  'a branch': [graph(branch), /If .* branch/],
  'a scan': [graph(scan), /Scan/],
  'an operator of a foreign domain': [graph(operatorOf('evil.example', 'Run')), /Run of evil\.example/],
  'an operator that opens files': [graph(operatorOf('com.microsoft', 'EPContext')), /EPContext/],
  'an operator with a search inside': [graph(operatorOf('com.microsoft', 'BeamSearch')), /BeamSearch/],
  'an operator that draws chance': [graph(operatorOf('', 'RandomNormalLike')), /random numbers/],
  'an operator that is not there': [graph(operatorOf('', 'Nonsense')), /onnxruntime/],
  'config.json that is cut': [file('config.json', '{"vocab_size":'), /config\.json/],
  'config.json with words for numbers': [file('config.json', '{"vocab_size":"many"}'), /vocab_size/],
  'config.json that is a list': [file('config.json', '[]'), /config\.json/],
  'config.json of 65 MiB': [
    (folder) => {
      writeContext(folder, GOOD)
      sparseFile(join(folder, 'config.json'), 65 * 2 ** 20)
    },
    /config\.json has 68157440 bytes/,
  ],
  'lists 100,000 deep': [file('tokenizer.json', '['.repeat(100_000)), /tokenizer\.json/],
  'a tokenizer without a model': [file('tokenizer.json', '{"model":7}'), /tokenizer\.json/],
  'a vocabulary of words for numbers': [
    file('tokenizer.json', '{"model":{"type":"BPE","vocab":7,"merges":{}}}'),
    /tokenizer/,
  ],
  'special tokens that are numbers': [file('tokenizer_config.json', '{"eos_token":7}'), /eos_token/],
  'a template that is cut': [file('chat_template.jinja', '{% for m in messages %}{{ m'), /template/],
}

test.each(Object.entries(REFUSED))('%s: refused with a reason', async (_name, [write, why]) => {
  const outer = temporaryFolder('refused')
  const folder = join(outer, 'context')
  mkdirSync(folder)
  // Whoever opened it would wait for ever.
  execFileSync('mkfifo', [join(outer, 'secret')])
  write(folder)
  const components = { clock: systemClock, random: seededRandom(1), log: silentLogger }
  const error: unknown = await loadEngine(folder, { engine: 'auto', threads: 1 }, components).then(
    () => 'it was loaded',
    (thrown) => thrown,
  )
  rmSync(outer, { recursive: true })
  expect(isHearthError(error), String(error)).toBe(true)
  expect(['model-unsupported', 'context-invalid']).toContain((error as { code: string }).code)
  expect((error as Error).message).toMatch(why)
  await expectGoodContextAnswers()
})

const NOT_IMPORTED: Record<string, [(folder: string, outside: string) => void, RegExp]> = {
  'a model behind a symbolic link': [
    (folder, outside) => symlinkSync(outside, join(folder, 'onnx', 'model.onnx')),
    /symbolic link/,
  ],
  'a model behind a hard link': [
    (folder, outside) => linkSync(outside, join(folder, 'onnx', 'model.onnx')),
    /hard link/,
  ],
  'a folder behind a symbolic link': [
    (folder) => {
      writeFileSync(join(folder, 'onnx', 'model.onnx'), GOOD)
      symlinkSync('/etc', join(folder, 'onnx', 'more'))
    },
    /symbolic link/,
  ],
  'a pipe': [(folder) => execFileSync('mkfifo', [join(folder, 'onnx', 'model.onnx')]), /neither a file/],
}

test.each(Object.entries(NOT_IMPORTED))('%s: not imported', async (_name, [write, why]) => {
  const outer = temporaryFolder('import')
  const folder = join(outer, 'context')
  const outside = join(outer, 'outside')
  writeFileSync(outside, GOOD)
  mkdirSync(folder)
  writeContext(folder, GOOD)
  rmSync(join(folder, 'onnx', 'model.onnx'))
  write(folder, outside)
  const store = new ContextStore({ clock: systemClock, log: silentLogger }, { folder: join(outer, 'store') })
  await store.open()
  await expect(store.import(folder)).rejects.toMatchObject({
    code: 'context-invalid',
    message: expect.stringMatching(why),
  })
  expect(store.list()).toEqual([])
  await store.close()
  await expectGoodContextAnswers()
})

const chat = { url: '/v1/chat/completions', body: { messages: [{ role: 'user', content: 'x' }] } }
const completion = { url: '/v1/completions', body: { prompt: `${'a'.repeat(60)}!`, max_tokens: 1 } }

const tokenizerWith = (regex: string): Write => {
  const tokenizer = JSON.parse(readFileSync(join(FACTS, 'tokenizer.json'), 'utf8')) as {
    pre_tokenizer: object
  }
  const pattern = { Regex: regex }
  return file(
    'tokenizer.json',
    JSON.stringify({ ...tokenizer, pre_tokenizer: { ...tokenizer.pre_tokenizer, pattern } }),
  )
}

const MEMORY = /more memory than its limit/
const SILENCE = /was silent for 1000 ms/

const CONTAINED: Record<
  string,
  [Write, typeof chat | typeof completion, RegExp, Partial<EngineHostOptions>?]
> = {
  'a constant of 2^46 numbers': [graph(manyOnes(2 ** 20, 2 ** 20, 64)), completion, /ConstantOfShape|memory/],
  'a constant of 4 GB': [graph(manyOnes(2 ** 30)), completion, MEMORY],
  'minutes of work in one step': [
    graph(muchWork),
    completion,
    /loading took longer|was silent/,
    { loadMsMax: 2_000 },
  ],
  'a template that loops': [
    file(
      'chat_template.jinja',
      '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}',
    ),
    chat,
    /takes more than 10000000 steps/,
    // So many steps take a second of an idle core: more of a busy one, and nothing is said meanwhile.
    { silenceMsMax: 30_000, loadMsMax: 30_000, runMsMax: 30_000 },
  ],
  'a template that fills memory': [
    file('chat_template.jinja', '{% for i in range(4000000000) %}{{ i }}{% endfor %}'),
    chat,
    /range is over 100000 numbers long/,
  ],
  'a pattern that backtracks for ever': [tokenizerWith('(a+)+$'), completion, SILENCE],
  'a pattern of a million brackets': [
    tokenizerWith(`${'('.repeat(1e6)}a${')'.repeat(1e6)}`),
    completion,
    /expression|call stack/i,
  ],
}

test.each(Object.entries(CONTAINED))(
  '%s: contained in its process',
  async (_name, [write, request, why, options]) => {
    const folder = join(temporaryFolder('contained'), 'context')
    mkdirSync(folder)
    write(folder)
    // What fills memory gets the time for it, on a busy machine too.
    const bounds =
      why === MEMORY
        ? { heartbeatMs: 100 }
        : { loadMsMax: 10_000, runMsMax: 4_000, silenceMsMax: 1_000, heartbeatMs: 100 }
    const host = new EngineHost(
      { clock: systemClock, log: silentLogger },
      { folder, threads: 1, residentBytesMax: 600e6, ...bounds, ...options },
    )
    const outcome = await host
      .start()
      .then(() => host.run(request))
      .catch((error: unknown) => error)
    await host.stop()
    if (isHearthError(outcome)) {
      expect(['engine-failed', 'model-unsupported', 'context-invalid']).toContain(outcome.code)
      expect(outcome.message).toMatch(why)
    } else expect(outcome).toMatchObject({ ok: false, error: { message: expect.stringMatching(why) } })
    await expectGoodContextAnswers()
  },
  60_000,
)
