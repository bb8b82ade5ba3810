// Writes onnx/model.onnx from the weights that train.py left. The same weights give the same bytes.
// node models/facts/export.ts [--weights build/weights.safetensors] [--out FOLDER]
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildLlamaGraph } from '../../src/inference/graph/llama-graph.ts'
import { safetensorsWeights } from '../../src/inference/graph/llama-weights.ts'
import { writeModel } from '../../src/inference/onnx/onnx-writer.ts'
import { factsShape } from './shape.ts'

const { values } = parseArgs({
  options: {
    weights: { type: 'string', default: join(import.meta.dirname, 'build/weights.safetensors') },
    out: { type: 'string', default: import.meta.dirname },
  },
})

const weights = safetensorsWeights(readFileSync(values.weights))
mkdirSync(join(values.out, 'onnx'), { recursive: true })
writeModel(buildLlamaGraph(factsShape(), weights, 'grouped-query'), join(values.out, 'onnx/model.onnx'))
