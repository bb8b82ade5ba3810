// An engine has one context loaded and answers OpenAI requests on it. A fake is
// a page (engines/fake-engine.ts). Engines run in a child process of their own; see engine-host.ts.
import type { Clock } from '../../base/clock.ts'
import { HearthError, type ErrorCode } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Random } from '../../base/random.ts'
import type { ExecutionProvider } from '../device/device-choice.ts'
import type { EndpointOptions } from '../endpoint/endpoint-options.ts'

/**
 * `auto` takes the fastest engine that can run the model. `ort-delta` and `ort-present` are
 * onnxruntime on a rewritten and on the stock graph; `embeddings` is onnxruntime on an encoder;
 * `openai` is a server that the machine runs already; `fake` answers without a model, after the time
 * that its timing model says.
 */
export const ENGINE_NAMES = ['auto', 'ort-delta', 'ort-present', 'embeddings', 'openai', 'fake'] as const

export type EngineName = (typeof ENGINE_NAMES)[number]

/** Throws RangeError when there is no engine called `name`: a program may not be type-checked. */
export function checkEngineName(name: unknown): asserts name is EngineName {
  if (ENGINE_NAMES.some((known) => known === name)) return
  throw new RangeError(`engine must be one of ${ENGINE_NAMES.join(', ')}; got ${JSON.stringify(name)}`)
}

/** One request in OpenAI's form, as a line of a job file carries it. `body` has not been checked. */
export interface EngineRequest {
  /** '/v1/chat/completions', '/v1/completions' or '/v1/embeddings'. */
  url: string
  body: unknown
}

export interface EngineUsage {
  promptTokens: number
  completionTokens: number
}

export interface EngineError {
  code: ErrorCode
  message: string
  /** The model computed no numbers: damaged weights do that, and so do a few requests. */
  doubtsWeights?: true | undefined
}

/** The error of a request for which the model computes NaN, infinity or nothing but zeros. */
export function noNumbers(what: string): HearthError {
  return new HearthError(
    'request-invalid',
    `the model computes NaN for this ${what}: change the ${what}, or use another dtype of the model`,
    { data: { doubtsWeights: true } },
  )
}

/** The answer to one request: a response body in OpenAI's form, or the reason why it failed. */
export type EngineResult =
  | { ok: true; statusCode: 200; body: Record<string, unknown>; usage: EngineUsage }
  | { ok: false; statusCode: number; error: EngineError }

/** Facts of a loaded engine that never change. */
export interface EngineFacts {
  /** Sequences that run at once. Further requests wait inside the engine. */
  slots: number
  /** The engine that was chosen: never 'auto'. */
  engine: Exclude<EngineName, 'auto'>
  /** Engine, execution provider, dtype, instruction set and graph: within one class, results are bit-equal. */
  numericClass: string
  /** Prompt and completion together, tokens. */
  contextLengthMax: number
  /** The execution provider of onnxruntime; undefined for other engines. */
  provider?: ExecutionProvider | undefined
}

export interface EngineRunOptions {
  signal?: AbortSignal | undefined
  /** Called whenever the engine has computed something of this request. */
  onProgress?: (() => void) | undefined
}

export interface Engine {
  readonly facts: EngineFacts
  /**
   * Answers one request, at its own time, whatever the others do. A request that cannot be run gives
   * `ok: false`. Throws the signal's reason once cancelled (its slot is free then), and `engine-failed`
   * when the engine itself broke.
   */
  run(request: EngineRequest, options?: EngineRunOptions): Promise<EngineResult>
  /** Ends the running requests and unloads the model. Its memory is freed only when the process exits. */
  close(): Promise<void>
}

/** The simulated timing of the fake engine. */
export interface FakeTiming {
  loadMs: number
  /** From the start of a request to its first token. */
  prefillMs: number
  tokenMs: number
}

export interface EngineOptions {
  engine: EngineName
  /** Sequences run at once; the engine's own default when absent. Fewer where memory is short. */
  slots?: number | undefined
  /** Threads inside one step of the model, at least 1. */
  threads: number
  /** The execution provider, default 'cpu'; falls back to the CPU where it does not work. */
  provider?: ExecutionProvider | undefined
  /** The name of the graphics card of `provider`: part of the numeric class. */
  deviceName?: string | undefined
  /** Whether a small model moves to the CPU when that is faster. Default false. */
  comparesWithCpu?: boolean | undefined
  /** A bound on prompt and completion, tokens, below the model's own. */
  contextLengthMax?: number | undefined
  /** The file of onnx/ to run, such as 'q4' for model_q4.onnx. Default: the first that exists, fp32 first. */
  dtype?: string | undefined
  /** Ready at once, slower at large batches, with its own numeric class: see EngineHostOptions.quickStart. */
  skipsPrepacking?: boolean | undefined
  /** For the openai engine: the endpoint that this machine has. */
  endpoint?: EndpointOptions | undefined
  /** For the fake engine. */
  fake?: Partial<FakeTiming> | undefined
}

export interface EngineComponents {
  clock: Clock
  random: Random
  log: Logger
}

/**
 * Loads the context in `folder`, a model in Hugging Face's ONNX layout: config.json,
 * generation_config.json, tokenizer.json, tokenizer_config.json (its chat template inside, or in
 * chat_template.jinja), onnx/model*.onnx.
 * Throws `context-invalid` when a file is missing or malformed, `model-unsupported` with the reason.
 */
export type LoadEngine = (
  folder: string,
  options: EngineOptions,
  components: EngineComponents,
) => Promise<Engine>
