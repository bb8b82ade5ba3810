// Lets imports ask the engines: the domains do not know each other.
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { ModelOpener } from '../../context-sharing/import/model-opener.ts'
import { tryContext } from '../../inference/host/context-trial.ts'
import { readModel } from '../../inference/onnx/onnx-reader.ts'
import { FileSource } from '../../inference/onnx/protobuf.ts'
import { weightFilesOf } from '../../inference/onnx/weight-files.ts'

/** Opens models in a process of its own, as jobs will. */
export function modelTrial(components: { clock: Clock; log: Logger }): ModelOpener {
  return {
    weightsOf(path) {
      using source = new FileSource(path)
      return Promise.resolve(weightFilesOf(readModel(source)))
    },
    open: (folder, signal) => tryContext(components, folder, signal),
  }
}
