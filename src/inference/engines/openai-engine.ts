// An external engine: an OpenAI-compatible server that already runs on this machine.
// docs/decisions/0016-endpoint-contexts.md says how such a model is a context.
import { HearthError, isHearthError } from '../../base/errors.ts'
import { RESULT_BODY_BYTES_MAX } from '../../base/limits.ts'
import { randomInteger } from '../../base/random.ts'
import { describeDeclaration, readDeclaration, type EndpointDeclaration } from '../endpoint/declaration.ts'
import { EndpointClient } from '../endpoint/endpoint-client.ts'
import type { EndpointOptions } from '../endpoint/endpoint-options.ts'
import { SlotGate } from '../batching/slot-gate.ts'
import { checkEndpointRequest } from '../text/request-check.ts'
import type {
  Engine,
  EngineFacts,
  EngineOptions,
  EngineRequest,
  EngineResult,
  EngineRunOptions,
  EngineUsage,
  LoadEngine,
} from '../contract/engine.ts'

/** Servers batch continuously; with fewer, their batches stay small. */
const SLOTS_DEFAULT = 16

class OpenAiEngine implements Engine {
  readonly facts: EngineFacts
  readonly #client: EndpointClient
  readonly #model: string
  readonly #slots: SlotGate
  readonly #closed = new AbortController()

  constructor(client: EndpointClient, model: string, facts: EngineFacts) {
    this.#client = client
    this.#model = model
    this.facts = facts
    this.#slots = new SlotGate(facts.slots)
  }

  /** Failures of the endpoint become results of status 502, so that one does not end the other requests. */
  async run(request: EngineRequest, options: EngineRunOptions = {}): Promise<EngineResult> {
    try {
      checkEndpointRequest(request)
    } catch (error) {
      if (isHearthError(error, 'request-invalid')) return refuse(400, error.message)
      throw error
    }
    const isStreamed = request.url !== '/v1/embeddings'
    const streaming = isStreamed ? { stream: true, stream_options: { include_usage: true } } : {}
    const body = { ...(request.body as object), model: this.#model, ...streaming }
    const signal =
      options.signal === undefined
        ? this.#closed.signal
        : AbortSignal.any([options.signal, this.#closed.signal])
    return await this.#slots.hold(signal, () =>
      this.#ask(request.url.replace('/v1', ''), body, { ...options, signal }),
    )
  }

  close(): Promise<void> {
    this.#closed.abort(new HearthError('engine-failed', 'the engine is closed'))
    return Promise.resolve()
  }

  async #ask(
    path: string,
    body: Record<string, unknown>,
    { signal, onProgress }: EngineRunOptions & { signal: AbortSignal },
  ): Promise<EngineResult> {
    try {
      const answer = await this.#client.ask(path, body, { signal, onHeard: onProgress })
      if (answer.kind === 'refused')
        return refuse(answer.statusCode, `the endpoint rejects the request: ${answer.message}`)
      const bytes = Buffer.byteLength(JSON.stringify(answer.body))
      if (bytes > RESULT_BODY_BYTES_MAX) {
        return refuse(
          422,
          `the answer has ${bytes} bytes, over the limit of ${RESULT_BODY_BYTES_MAX}: ask for fewer tokens`,
        )
      }
      return { ok: true, statusCode: 200, body: answer.body, usage: usageOf(answer.body) }
    } catch (error) {
      if (signal.aborted || !isHearthError(error, 'engine-failed')) throw error
      return { ok: false, statusCode: 502, error: { code: error.code, message: error.message } }
    }
  }
}

/**
 * Takes a context that is a declaration, if this peer has the endpoint that it declares, and looks
 * whether that serves the model. Throws `model-unsupported` when it does not, `engine-failed` when the
 * endpoint does not answer.
 */
export const loadOpenAiEngine: LoadEngine = async (folder, options, components) => {
  const endpoint = endpointFor(await readDeclaration(folder), options)
  const client = new EndpointClient(components, endpoint)
  const model = await client.requireModel()
  components.log.info({ model: endpoint.model }, 'endpoint answers')
  return new OpenAiEngine(client, endpoint.model, {
    slots: options.slots ?? SLOTS_DEFAULT,
    engine: 'openai',
    // An external server guarantees nothing, so no result counts as bit-equal to another.
    numericClass: `openai/${randomInteger(components.random, Number.MAX_SAFE_INTEGER).toString(16)}`,
    contextLengthMax: model?.contextLengthMax ?? Number.MAX_SAFE_INTEGER,
  })
}

function endpointFor(
  declaration: EndpointDeclaration | undefined,
  { endpoint }: EngineOptions,
): EndpointOptions {
  if (declaration === undefined) {
    throw unsupported(
      'this peer serves only the model of its endpoint (--engine openai) and runs no weights itself',
    )
  }
  const what = `an endpoint that serves ${describeDeclaration(declaration)}`
  if (endpoint === undefined) {
    throw unsupported(`this context needs ${what}, which this peer does not have`)
  }
  if (endpoint.model !== declaration.model || endpoint.declared !== declaration.declared) {
    throw unsupported(`this context needs ${what}; this peer's serves ${describeDeclaration(endpoint)}`)
  }
  return endpoint
}

function unsupported(message: string): HearthError {
  return new HearthError('model-unsupported', message)
}

function refuse(statusCode: number, message: string): EngineResult {
  return { ok: false, statusCode, error: { code: 'request-invalid', message } }
}

/** The endpoint's token count; 0 when it gives none. */
function usageOf({ usage }: Record<string, unknown>): EngineUsage {
  const counts = (usage ?? {}) as Record<string, unknown>
  const count = (name: string): number => (Number.isSafeInteger(counts[name]) ? (counts[name] as number) : 0)
  return { promptTokens: count('prompt_tokens'), completionTokens: count('completion_tokens') }
}
