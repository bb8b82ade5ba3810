/** An OpenAI-compatible server that this machine's owner runs: vLLM, llama.cpp, Ollama, LM Studio … */
export interface EndpointOptions {
  /** The base of its API, as http://127.0.0.1:8000/v1. Known to this peer only. */
  url: string
  /** The model's name at the server. */
  model: string
  /** The owner's description of the model; equal declarations are one context. */
  declared?: string | undefined
  /** Sent as a bearer token. Known to this peer only, and never logged. */
  apiKey?: string | undefined
  /** Longest silence during an answer, ms. Default 120,000, which allows for a long queue. */
  silenceMsMax?: number | undefined
  /** Longest time of one request, waits included, ms. Default 1,200,000. */
  answerMsMax?: number | undefined
}

export const SILENCE_MS_MAX_DEFAULT = 120_000
export const ANSWER_MS_MAX_DEFAULT = 1_200_000

/**
 * How long a run may take in the engine's process, ms: an engine is given twice its slots of requests,
 * so one of them may wait for another's whole answer before its own begins.
 */
export function endpointRunMsMax({ answerMsMax = ANSWER_MS_MAX_DEFAULT }: EndpointOptions): number {
  return 2 * answerMsMax + 60_000
}
