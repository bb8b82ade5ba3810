/** The engines' part of an import: src/node gives it to the store. Without it, folders are taken unopened. */
export interface ModelOpener {
  /**
   * The files of weights that the ONNX graph at `path` names, seen from its folder.
   * Throws `model-unsupported` or `context-invalid`.
   */
  weightsOf(path: string): Promise<string[]>
  /**
   * Opens the model in `folder`, which holds the context's files and nothing else, as a job will.
   * Throws `model-unsupported` or `context-invalid` with the reason, or the signal's reason.
   */
  open(folder: string, signal: AbortSignal | undefined): Promise<void>
}
