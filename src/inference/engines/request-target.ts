// Reads from a context's folder the requests that it can answer, without loading the model.
import { readEmbeddingRecipe } from '../contract/embedding-recipe.ts'
import { findModelFile } from '../contract/model-file.ts'
import { readContextFiles } from '../contract/model-folder.ts'
import { readDeclaration } from '../endpoint/declaration.ts'
import { hasTextOutput, isEncoder } from '../graph/encoder.ts'
import { readModel } from '../onnx/onnx-reader.ts'
import { FileSource } from '../onnx/protobuf.ts'
import type { RequestTarget } from '../text/request-check.ts'

/** Throws `context-invalid` or `model-unsupported` for a folder that no engine could open. */
export async function readRequestTarget(folder: string): Promise<RequestTarget> {
  if ((await readDeclaration(folder)) !== undefined) return { kind: 'endpoint' }
  const files = await readContextFiles(folder)
  using source = new FileSource((await findModelFile(folder, undefined)).path)
  const model = readModel(source)
  if (isEncoder(model))
    return {
      kind: 'embeddings',
      rules: await readEmbeddingRecipe(folder, files.config, hasTextOutput(model)),
    }
  return { kind: 'generate', hasChatTemplate: files.chatTemplate !== undefined }
}
