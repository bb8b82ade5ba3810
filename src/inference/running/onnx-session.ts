import '../device/no-telemetry.ts'
import { createRequire } from 'node:module'
import { InferenceSession, type Tensor } from 'onnxruntime-node'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { ExecutionProvider } from '../device/device-choice.ts'

export const ORT_VERSION: string = (
  createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }
).version

export type Feeds = Record<string, Tensor>

export interface SessionSource {
  /** A model's file, or its bytes. */
  model: string | Uint8Array
  /** Where external weights are, when the model comes as bytes. */
  weightsFolder?: string
}

export interface SessionOptions {
  threads: number
  /** Default 'cpu'. */
  provider?: ExecutionProvider
  /** Whether outputs stay where they were made; only WebGPU can. They can be fed again, and not be read. */
  keepsOutputsOnDevice?: boolean
  /** Runs from weights as they are mapped: ready at once, slower at large batches. */
  skipsPrepacking?: boolean
  /** Runs the graph as it is: what onnxruntime would make of it takes longer than all the rest of opening it. */
  skipsOptimizing?: boolean
}

/** Opens a session. Throws `model-unsupported` with onnxruntime's reason. */
export async function openSession(
  { model, weightsFolder }: SessionSource,
  {
    threads,
    provider = 'cpu',
    keepsOutputsOnDevice = false,
    skipsPrepacking = false,
    skipsOptimizing = false,
  }: SessionOptions,
): Promise<InferenceSession> {
  const session = {
    // A thread that spins while it waits takes the core from whoever has work.
    'intra_op.allow_spinning': '0',
    // Without VNNI, products of unsigned and signed bytes overflow their 16-bit sums; slower ones do not.
    x64quantprecision: '1',
    ...(skipsPrepacking ? { disable_prepacking: '1' } : {}),
    ...(weightsFolder === undefined ? {} : { model_external_initializers_file_folder_path: weightsFolder }),
  }
  const options: InferenceSession.SessionOptions = {
    // onnxruntime runs operators on the CPU when the provider has no kernel for them.
    executionProviders: [provider],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    graphOptimizationLevel: skipsOptimizing ? 'disabled' : 'all',
    ...(keepsOutputsOnDevice ? { preferredOutputLocation: 'gpu-buffer' } : {}),
    extra: { session },
  }
  try {
    return typeof model === 'string'
      ? await InferenceSession.create(model, options)
      : await InferenceSession.create(model, options)
  } catch (error) {
    throw new HearthError('model-unsupported', `onnxruntime: ${messageOf(error)}`, { cause: error })
  }
}

/** The float data of an output. Throws `engine-failed` when the model lacks it. */
export function floatData(outputs: InferenceSession.ReturnType, name: string): Float32Array {
  const tensor = outputs[name]
  if (tensor?.data instanceof Float32Array) return tensor.data
  throw new HearthError('engine-failed', `the model gave no float output ${name}`)
}
