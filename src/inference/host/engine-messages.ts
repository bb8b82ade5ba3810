// The messages between an engine host and its child process, over Node's IPC channel.
import type { ErrorCode } from '../../base/errors.ts'
import type { EngineFacts, EngineOptions, EngineRequest, EngineResult } from '../contract/engine.ts'

/** The child's exit code when it exceeds its memory limit, so that its parent can tell. */
export const MEMORY_SIGNAL = 'SIGUSR2'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export type ToChild =
  | {
      kind: 'load'
      folder: string
      options: EngineOptions
      heartbeatMs: number
      nice: number
      residentBytesMax: number
    }
  | { kind: 'run'; run: number; request: EngineRequest }
  | { kind: 'cancel'; run: number }

export type FromChild =
  | { kind: 'loaded'; facts: EngineFacts }
  | { kind: 'load-failed'; code: ErrorCode; message: string }
  /** Every run gets exactly one answer: a result, or one of the two below. */
  | { kind: 'result'; run: number; result: EngineResult }
  | { kind: 'cancelled'; run: number }
  /** The engine broke on this run, so the child is no longer trusted. */
  | { kind: 'run-failed'; run: number; message: string }
  /** Sent between the engine's steps, never during one. */
  | { kind: 'heartbeat'; residentBytes: number }
  /** Runs of which something was computed since the last heartbeat. */
  | { kind: 'progress'; runs: number[] }
  | { kind: 'log'; level: LogLevel; fields: object; text: string }
