import { readDeclaration } from '../endpoint/declaration.ts'
import { checkEngineName, type LoadEngine } from '../contract/engine.ts'

/**
 * Loads the engine that the options name. Each engine's code, and its native library, is imported only then.
 * Throws RangeError when no engine has that name.
 */
export const loadEngine: LoadEngine = async (folder, options, components) => {
  checkEngineName(options.engine)
  if (options.engine === 'fake') {
    const { loadFakeEngine } = await import('./fake-engine.ts')
    return await loadFakeEngine(folder, options, components)
  }
  // A declared context always goes to the openai engine, which reports a missing endpoint.
  if (options.engine === 'openai' || (await readDeclaration(folder)) !== undefined) {
    const { loadOpenAiEngine } = await import('./openai-engine.ts')
    return await loadOpenAiEngine(folder, options, components)
  }
  const { loadOrtEngine } = await import('./ort-engine.ts')
  return await loadOrtEngine(folder, options, components)
}
