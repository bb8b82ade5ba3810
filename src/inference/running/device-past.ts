// Keeps the past of decode steps on the device. The KvStore stays the truth, in the machine's memory; what is
// on the device is a copy of it that grows there with every step, and is sent anew after anything else
// has changed the store: a prompt came in, a slot moved, the capacity changed. Nothing is ever read back.
import '../device/no-telemetry.ts'
import { Tensor, type InferenceSession } from 'onnxruntime-node'
import type { KvShape } from '../graph/decoder.ts'
import { KV_PARTS, type KvStore } from './kv-store.ts'
import { openSession, type Feeds, type SessionOptions } from './onnx-session.ts'
import { encodeModel, GraphBuilder } from '../onnx/onnx-writer.ts'

/** [rows, 1, capacity, 1]: whether a token's place is the new one's. */
const IS_NEW = 'is_new'

interface Held {
  store: KvStore
  /** The store's version when the device had the same rows; undefined until the step's rows are in it. */
  version: number | undefined
  rows: number
  tensors: Feeds
}

export class DevicePast {
  readonly #session: InferenceSession
  readonly #names: readonly string[]
  #held: Held | undefined

  private constructor(session: InferenceSession, names: readonly string[]) {
    this.#session = session
    this.#names = names
  }

  static async open(shape: KvShape, options: SessionOptions): Promise<DevicePast> {
    const names = namesOf(shape)
    const session = await openSession(
      { model: appendingGraph(shape, names) },
      { ...options, keepsOutputsOnDevice: options.provider === 'webgpu' },
    )
    return new DevicePast(session, names)
  }

  /** The first `rows` slots of the store, where the device has them as they are now. */
  feeds(store: KvStore, rows: number): Feeds | undefined {
    const held = this.#held
    const isSame = held?.store === store && held.version === store.version && held.rows === rows
    return isSame ? held.tensors : undefined
  }

  /**
   * Adds the new token of each row to the past that a decode step was given. `made` has the new keys and
   * values in the order of layers and parts. The returned function says that the store has them too.
   */
  async append(
    store: KvStore,
    past: Feeds,
    made: readonly Tensor[],
    pastLengths: readonly number[],
  ): Promise<() => void> {
    const { capacity } = store
    const isNew = new Uint8Array(pastLengths.length * capacity)
    for (const [row, length] of pastLengths.entries()) isNew[row * capacity + length] = 1
    const feeds: Feeds = { [IS_NEW]: new Tensor('bool', isNew, [pastLengths.length, 1, capacity, 1]) }
    for (const [index, name] of this.#names.entries()) {
      feeds[pastName(name)] = past[pastName(name)] as Tensor
      feeds[newName(name)] = made[index] as Tensor
    }
    const outputs = await this.#session.run(feeds)
    this.#drop()
    const tensors = Object.fromEntries(this.#names.map((name) => [pastName(name), outputs[name] as Tensor]))
    const held: Held = { store, version: undefined, rows: pastLengths.length, tensors }
    this.#held = held
    return () => {
      held.version = store.version
    }
  }

  async close(): Promise<void> {
    this.#drop()
    await this.#session.release()
  }

  #drop(): void {
    for (const tensor of Object.values(this.#held?.tensors ?? {})) tensor.dispose()
    this.#held = undefined
  }
}

function appendingGraph({ keyValueHeads, headSize }: KvShape, names: readonly string[]): Uint8Array {
  const builder = new GraphBuilder('append')
  builder.input(IS_NEW, 'bool', ['rows', 1, 'capacity', 1])
  for (const name of names) {
    const dims = ['rows', keyValueHeads, 'capacity', headSize]
    builder.input(pastName(name), 'float', dims)
    builder.input(newName(name), 'float', ['rows', keyValueHeads, 1, headSize])
    builder.output(name, 'float', dims)
    builder.namedNode('Where', [IS_NEW, newName(name), pastName(name)], [name])
  }
  return encodeModel(builder.graph)
}

/** "3.key", layer by layer. */
function namesOf({ layers }: KvShape): string[] {
  return Array.from({ length: layers }, (_, layer) => KV_PARTS.map((part) => `${layer}.${part}`)).flat()
}

const pastName = (name: string): string => `past_key_values.${name}`
const newName = (name: string): string => `new.${name}`
