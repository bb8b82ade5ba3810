// Names the class of machines and graphs within which results are bit-equal.
import { readFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { arch, cpus } from 'node:os'
import type { OnnxModel } from './onnx-reader.ts'

/** CPU features by which onnxruntime chooses its matrix kernels, the most specific first. */
const INSTRUCTION_SETS = [
  'amx_int8',
  'avx512_vnni',
  'avx512f',
  'avx_vnni',
  'avx2',
  'asimddp',
  'asimd',
] as const

export interface NumericClassParts {
  engine: string
  engineVersion: string
  executionProvider: string
  /** The class on a provider other than the CPU. */
  deviceName: string | undefined
  dtype: string
  graphHash: string
}

/** As 'ort-delta-1.30.0.2/cpu/fp32/x64-amx_int8/3f2a…': engine, execution provider, dtype, instruction set or graphics card, graph. */
export async function numericClassOf(parts: NumericClassParts): Promise<string> {
  const { engine, engineVersion, executionProvider, dtype, graphHash } = parts
  const machine = executionProvider === 'cpu' ? await readInstructionSet() : wordOf(parts.deviceName)
  return [`${engine}-${engineVersion}`, executionProvider, dtype, machine, graphHash].join('/')
}

/** Where the system does not list its flags, the processor's name stands for them. */
async function readInstructionSet(): Promise<string> {
  const text = await readFile('/proc/cpuinfo', 'utf8').catch(() => '')
  const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/))
  const found = INSTRUCTION_SETS.find((name) => flags.has(name))
  return `${arch()}-${found ?? wordOf(cpus()[0]?.model)}`
}

function wordOf(name: string | undefined): string {
  return (name ?? 'unknown').trim().replaceAll(/\W+/g, '_')
}

/** A hash of the graph without its weights: 16 hex digits. */
export function graphHash({ nodes, initializers }: OnnxModel): string {
  const hash = createHash('sha256')
  for (const { encoded } of nodes) hash.update(encoded).update('\n')
  for (const { name, type, dims } of initializers) hash.update(`${name}:${type}:${dims.join()}\n`)
  return hash.digest('hex').slice(0, 16)
}
